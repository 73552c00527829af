"""Entry point of backups: `python -m fedbackup create`, `verify` or `restore`. One step, then the end; nobody is served.

The exit code is one of fedapi.outcome; why a step failed is in the status, the termination log and the last line.
"""

import contextlib
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from fedapi import jsonlog, names, sigterm
from fedapi.outcome import Exit
from fedapi.wire.job import JobConfig
from fedapi.wire.layout import Layout
from fedbackup import archive as archives
from fedbackup import evaluating, facts, restore, snapshot
from fedbackup.adapters.files import FactsFile, ObjectsFolder
from fedbackup.archive import Archive
from fedbackup.copying import DESTINATION, SOURCE, TARGET
from fedbackup.create import Maker, Policy
from fedbackup.errors import BackupError, BadRequestError, Reason, told
from fedbackup.freezing import Thaw
from fedbackup.ports import Facts, Objects
from fedbackup.settings import CreateSettings, RestoreSettings, Settings, SigningSettings, VerifySettings
from fedbackup.verify import Demand, Verifier
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store
from fedstore.residency import check_region

if TYPE_CHECKING:
    from fedbackup.adapters.kubernetes import KubernetesJob

log = logging.getLogger("fedbackup")


def main(words: list[str]) -> int:
    """Runs one step."""
    steps: dict[str, Callable[[], int]] = {"create": _create, "verify": _verify, "restore": _restore}
    if len(words) != 1 or words[0] not in steps:
        sys.stderr.write(f"arguments are {words}: use one of {', '.join(steps)}\n")
        return Exit.BAD_SETTINGS
    sigterm.ends()
    jsonlog.configure("INFO")
    try:
        return steps[words[0]]()
    except ValidationError as error:
        text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:10])
        return _ended(Exit.BAD_SETTINGS, text, None)


def _create() -> int:
    settings = CreateSettings()
    with _ending(settings) as end, _told(settings, "Create"):
        sink = _sink(settings)
        source = _opened(SOURCE, settings.store, settings.store_credentials_dir)
        signer = settings.signer()
        archive = _archive(settings, pinned=signer.public_key)
        objects, config = _objects(settings), _config(settings)
        with told(DESTINATION):
            check_region(archive.store, config.residency if config else ())
        bodies = objects.of_job([entry.name for entry in config.roster] if config else ()) if objects else []
        policy = Policy(settings.keep_last, settings.cold_after_days)
        if _none_committed(source, archive.layout) and _none_yet(archive, sink):
            log.info("nothing to back up yet: no model of the job is committed")
            return end.code
        made = Maker(source, archive, signer, bodies, policy).made()
        body = made.manifest
        fields = {"key": made.found.key, "round": body.round, "bytes": body.bytes, "new_bytes": body.new_bytes}
        log.info("backed up", extra={"fields": {**fields, "seconds": round(body.seconds, 3)}})
        sink.change(lambda before: facts.created(before, made))
        if made.trouble is not None:
            end(made.trouble)
    return end.code


def _verify() -> int:
    settings = VerifySettings()
    with contextlib.ExitStack() as stack:
        end = stack.enter_context(_ending(settings))
        if settings.verify_dir is not None:
            stack.callback(evaluating.dismiss, settings.verify_dir)
        stack.enter_context(_told(settings, "Verify"))
        sink, signer = _sink(settings), settings.signer()
        archive = _archive(settings, pinned=signer.public_key)
        if not settings.name and _none_yet(archive, sink):
            log.info("nothing to verify yet: no backup has been made")
            return end.code
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="restored-"))
        evaluation = None
        if settings.verify_dir is not None:
            evaluation = evaluating.Beside(settings.verify_dir, settings.evaluation_patience_s)
        demand = Demand(settings.metric, settings.tolerance)
        verifier = Verifier(archive, signer, Path(scratch), evaluation, demand, _thaw(settings), time.time)
        proof = verifier.proved(settings.name)
        found = proof.evidence
        log.info("verified" if proof.error is None else "not verified", extra={"fields": found.model_dump(mode="json")})
        if proof.error is None:
            sink.change(lambda before: facts.verified(before, proof))
        else:
            error, at = proof.error, found.at
            sink.change(lambda before: facts.failed(before, "Verify", error, at, proof.key))
            end(error)
    return end.code


def _none_committed(source: ObjectStore, layout: Layout) -> bool:
    """Whether the job is at its very beginning, or this is not its store: once there is a backup, that is a failure."""
    head = snapshot.read_head(source, layout)
    return head is None or head.round < 0


def _none_yet(archive: Archive, sink: Facts) -> bool:
    """Whether no backup was ever made, which is for its schedule to say; one that was made and is gone is a failure."""
    with told(DESTINATION):
        there = archive.names()
    return not there and "lastTime" not in sink.told()


def _restore() -> int:
    settings = RestoreSettings()
    with _ending(settings) as end:
        destination = _opened(DESTINATION, settings.backup_store, settings.backup_credentials_dir)
        with told(DESTINATION):
            old, name = archives.located(destination, settings.restore_from)
        archive = Archive(destination, old, settings.public_key)
        target = _opened(TARGET, settings.store, settings.store_credentials_dir)
        layout = Layout(settings.namespace, settings.job, settings.job_uid)
        found = restore.chosen(archive, name, target, layout)
        request = restore.Request(layout, time.time(), settings.round, settings.rounds)
        began = time.monotonic()
        done = restore.restored(archive, found, target, request, _thaw(settings))
        fields = {"backup": found.key, "round": done.head.round, "objects": done.objects, "bytes": done.bytes}
        what = "restored before" if done.was_there else "restored"
        log.info(what, extra={"fields": {**fields, "seconds": round(time.monotonic() - began, 3)}})
    return end.code


class _End:
    """How the process ends."""

    def __init__(self, termination_log: Path | None) -> None:
        self._termination_log, self.code = termination_log, int(Exit.OK)

    def __call__(self, error: BackupError) -> None:
        """Not well."""
        self.code = _ended(error.code, str(error), self._termination_log)


@contextlib.contextmanager
def _ending(settings: Settings) -> Iterator[_End]:
    jsonlog.set_level("", settings.log_level.upper())
    log.info("settings", extra={"fields": settings.model_dump(mode="json")})
    end = _End(settings.termination_log)
    try:
        yield end
    except BackupError as error:
        end(error)


def _ended(code: int, message: str, termination_log: Path | None) -> int:
    """Tells it to the log, to whoever looks at the terminal, and to the kubelet."""
    log.error("ended", extra={"fields": {"code": int(code), "reason": message}})
    sys.stderr.write(f"{message}\n")
    if termination_log is not None:
        with contextlib.suppress(OSError):
            termination_log.write_text(message[:2000])
    return code


@contextlib.contextmanager
def _told(settings: SigningSettings, step: facts.Step) -> Iterator[None]:
    """What ends a step is told to the status, too, as far as it can be."""
    try:
        yield
    except BackupError as error:
        failed = partial(facts.failed, step=step, error=error, now=time.time())
        with contextlib.suppress(BackupError):
            _sink(settings).change(failed)
        raise


def _opened(which: str, where: str, credentials: Path | None) -> ObjectStore:
    with told(which):
        return open_store(where, credentials)


def _archive(settings: SigningSettings, pinned: str) -> Archive:
    store = _opened(DESTINATION, settings.backup_store, settings.backup_credentials_dir)
    return Archive(store, Layout(settings.namespace, settings.job, settings.job_uid), pinned)


def _thaw(settings: Settings) -> Thaw:
    return Thaw(settings.thaw_patience_s, time.time, time.sleep, log.info)


def _config(settings: CreateSettings) -> JobConfig | None:
    """What the aggregator is told: which FLClients the job has, and where its buckets may be; None where nobody told it."""
    if not settings.config_file.exists():
        return None
    try:
        return JobConfig.told(settings.config_file.read_bytes())
    except (OSError, ValidationError) as error:
        raise BadRequestError(Reason.BAD_SETTINGS, f"{settings.config_file}: {error}"[:500]) from error


def _sink(settings: SigningSettings) -> Facts:
    if settings.status.startswith("file:"):
        return FactsFile(Path(settings.status.removeprefix("file:")))
    if settings.status == "kubernetes":
        return _kubernetes(settings)
    text = f"{names.ENV_STATUS}={settings.status!r}: must be 'kubernetes' or 'file:PATH'"
    raise BadRequestError(Reason.BAD_SETTINGS, text)


def _objects(settings: CreateSettings) -> Objects | None:
    match settings.objects.partition(":"):
        case ("", _, _):
            return None
        case ("kubernetes", _, _):
            return _kubernetes(settings)
        case ("file", _, folder):
            return ObjectsFolder(Path(folder), settings.job)
    text = f"{names.ENV_BACKUP_OBJECTS}={settings.objects!r}: must be 'kubernetes' or 'file:FOLDER'"
    raise BadRequestError(Reason.BAD_SETTINGS, text)


def _kubernetes(settings: SigningSettings) -> "KubernetesJob":
    from fedbackup.adapters.kubernetes import KubernetesJob  # noqa: PLC0415 - slow to load where it is not used

    return KubernetesJob(settings.namespace, settings.job, settings.job_uid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
