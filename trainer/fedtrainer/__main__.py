"""Entry point of the trainer: `python -m fedtrainer train` (a site's work) or `init` (the model of round 0).

Maps errors to exit codes (fedapi.outcome) and leaves the reason, one line, where the kubelet reads it.
"""

import logging
import os
import signal
import sys
from types import FrameType

from fedapi.outcome import Exit, reason
from fedtrainer.errors import Stop, Terminated
from fedtrainer.settings import InitSettings, TaskSettings, TrainerSettings, shown, termination_log

log = logging.getLogger("fedtrainer")

COMMANDS = ("train", "init")
CRASHED = 1  # an error that nobody foresaw: retried within the budget, like every code outside fedapi.outcome


def main(arguments: list[str]) -> int:
    """Runs one command; the exit code of the process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every URL, and blob URLs are secrets
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _terminate)
    try:
        if len(arguments) != 1 or arguments[0] not in COMMANDS:
            return _end(Exit.BAD_SETTINGS, f"arguments are {arguments}: use one of {', '.join(COMMANDS)}")
        _train() if arguments[0] == "train" else _init()
    except Stop as error:
        return _end(error.exit, str(error))
    except Terminated as signalled:
        log.info("ended by signal %d; finished work is kept", signalled.number)
        return 128 + signalled.number
    except Exception as error:
        log.exception("the trainer itself failed")
        return _end(CRASHED, f"{type(error).__name__}: {error}")
    return Exit.OK


def _train() -> None:
    from fedtrainer.agent.work import run  # noqa: PLC0415 - each command loads what it needs

    settings = TrainerSettings.read()
    _log(settings)
    run(settings)


def _init() -> None:
    from fedtrainer.training.initial import write_initial_model  # noqa: PLC0415 - loads torch

    settings = InitSettings.read()
    _log(settings)
    write_initial_model(settings.entrypoint, settings.task_args, settings.seed, settings.threads, settings.init_dir)


def _log(settings: TaskSettings) -> None:
    log.info("settings %s", shown(settings))
    logging.getLogger().setLevel(settings.log_level)


def _end(code: int, message: str) -> int:
    line = " ".join(message.split())[:1000]
    log.error("%s (exit %d): %s", reason(code), code, line)
    path = termination_log()
    if path is not None:
        try:
            path.write_text(f"{line}\n")
        except OSError as error:
            log.warning("%s is not writable: %s", path, error)
    return code


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise Terminated(number)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)  # a question in flight on the watch thread must not hold the process
