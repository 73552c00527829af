"""Entry point of the trainer: `python -m fedtrainer train` (a site's work), `init` (the model of round 0), `evaluate`, `heartbeat`.

`train` is the launcher of a pod's ranks where the site has several, and otherwise, or when a launcher has started it,
a rank. How errors become exit codes is in process.py.
"""

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from fedapi import jsonlog
from fedapi.outcome import Exit
from fedapi.wire.training import TrainingSettings
from fedtrainer import process
from fedtrainer.heartbeat_settings import HeartbeatSettings
from fedtrainer.ring.slot import Slot
from fedtrainer.settings import EvaluateSettings, InitSettings, TaskSettings, TrainerSettings, shown

log = logging.getLogger("fedtrainer")

COMMANDS = ("train", "init", "evaluate", "heartbeat")


def main(arguments: list[str]) -> int:
    """Runs one command; the exit code of the process."""
    process.begin()
    return process.code_of(lambda: _command(arguments))


def _command(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        return process.end(Exit.BAD_SETTINGS, f"arguments are {arguments}: use one of {', '.join(COMMANDS)}")
    match arguments[0]:
        case "train":
            return _train()
        case "init":
            return _init()
        case "evaluate":
            return _evaluate()
        case _:
            return _heartbeat()


def _train() -> int:
    settings, slot = TrainerSettings.read(), Slot.read()
    if slot is None:
        _log(settings)
        if settings.ranks > 1:
            from fedtrainer.launch.launcher import run as launch  # noqa: PLC0415 - each role loads what it needs

            return launch(settings)
    else:
        from fedtrainer.launch.lifeline import hold  # noqa: PLC0415

        hold()
        _log(settings, slot)
    _rank(settings, slot or settings.alone())
    return Exit.OK


def _rank(settings: TrainerSettings, slot: Slot) -> None:
    if slot.rank == 0:
        from fedtrainer.agent.work import run as work  # noqa: PLC0415

        work(settings, slot)
    else:
        from fedtrainer.agent.follow import run as follow  # noqa: PLC0415

        follow(settings, slot)


def _init() -> int:
    from fedtrainer.training.given import GivenModel  # noqa: PLC0415 - loads torch
    from fedtrainer.training.initial import write_initial_model  # noqa: PLC0415

    settings = InitSettings.read()
    _log(settings)
    path = settings.import_file.removeprefix("file:")
    given = GivenModel(Path(path), settings.import_sha256) if path else None
    write_initial_model(
        settings.entrypoint,
        settings.task_args,
        settings.seed,
        settings.threads,
        settings.init_dir,
        given,
        TrainingSettings(exchange=settings.exchange, local_parameters=settings.local_parameters),
        settings.widths,
    )
    return Exit.OK


def _evaluate() -> int:
    from fedtrainer.training.verification import evaluate  # noqa: PLC0415 - loads torch

    settings = EvaluateSettings.read()
    _log(settings)
    task = (settings.entrypoint, settings.task_args, settings.seed, settings.threads)
    evaluate(*task, settings.data_dir, settings.verify_dir, settings.patience_s)
    return Exit.OK


def _heartbeat() -> int:
    from fedtrainer.agent.heartbeat import Beating  # noqa: PLC0415

    settings = HeartbeatSettings.read()
    settings.token()
    Beating(settings).beat(settings)
    return Exit.OK


def _log(settings: TaskSettings, slot: Slot | None = None) -> None:
    if slot is not None:
        jsonlog.always(rank=slot.rank)  # the ranks of a pod write to one stream
    log.info("settings %s", shown(settings)) if slot is None else log.info("%s", slot)
    logging.getLogger().setLevel(settings.log_level)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    with suppress(Exception):  # a task may have closed them
        logging.shutdown()
        sys.stdout.flush()
    os._exit(code)  # a question in flight on the watch thread must not hold the process
