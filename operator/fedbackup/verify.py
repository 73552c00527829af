"""Proves a backup: restores it into a throw-away place, checks every digest, has its model measured, and signs what it found.

Called by __main__.py and the command line. Models of rounds that are not measured are read and checked, and not kept: the
place needs room for two models and the records, and for the whole model where a part of it travels alone. What the task says of the model comes from a process of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Protocol

from fedapi.outcome import Exit, reason
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.plan import PlanRecord
from fedapi.wire.training import TrainingSettings
from fedapi.wire.verification import EvaluationAnswer, EvaluationRequest
from fedbackup.archive import Archive, Found
from fedbackup.archived import Archived
from fedbackup.copying import DESTINATION
from fedbackup.errors import BackupError, NotRestorableError, Reason, told
from fedbackup.freezing import Thaw
from fedbackup.manifest import Evidence, Recorded, Signer
from fedbackup.restore import Request, restored
from fedcore.rounds.evaluation import headline
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError
from fedstore import history, wholemodel
from fedstore.disk import DiskStore
from fedstore.objectstore import ObjectStore, Reader


class Evaluation(Protocol):
    """The task, where a verification set is there to measure models on."""

    def answer(self, request: EvaluationRequest) -> EvaluationAnswer:
        """What became of it. NotRestorableError where nothing answers."""


@dataclass(frozen=True)
class Demand:
    """What a model must show."""

    metric: str = ""  # the recorded one that counts, else the headline
    tolerance: float | None = None  # None: it must be measured, whatever comes out


@dataclass(frozen=True)
class Proof:
    """What was found, and where it is kept."""

    evidence: Evidence
    key: str
    error: BackupError | None = None


@dataclass
class Verifier:
    """Verifies backups of one job. `scratch` is an empty folder, gone afterwards for all it cares."""

    archive: Archive
    signer: Signer | None  # None: nothing is kept of what is found
    scratch: Path
    evaluation: Evaluation | None
    demand: Demand
    thaw: Thaw
    clock: Callable[[], float]
    _found: Evidence = field(init=False)

    def proved(self, name: str = "") -> Proof:
        """A backup by name, else the newest. A failure is evidence too; without any backup there is none to fail."""
        with told(DESTINATION):
            name = self.archive.named(name)
        self._found = Evidence(
            tool=metadata.version("fedloom"),
            backup=self.archive.manifest_key(name),
            result="Verified",
            at=self.clock(),
            public_key=self.signer.public_key if self.signer else "",
        )
        trouble: BackupError | None = None
        try:
            with told(DESTINATION):
                self._verify(self.archive.read(name))
        except BackupError as error:
            trouble = error
            damaged = error.damaged if isinstance(error, NotRestorableError) else ()
            self._say(result="Failed", reason=str(error.reason), message=str(error)[:2000], damaged=damaged)
        key = ""
        if self.signer is not None:
            with told(DESTINATION):
                key = self.archive.write_evidence(name, self._found, self.signer)
        return Proof(self._found, key, trouble)

    def _say(self, **facts: object) -> None:
        self._found = self._found.model_copy(update=facts)

    def _verify(self, found: Found) -> None:
        body = found.manifest
        self._say(manifest_sha256=found.sha256)
        measured = body.recorded.round if body.recorded else body.round
        began = self.clock()
        scratch = DiskStore(self.scratch)
        request = Request(body.layout, began, content=_content(self.archive, found, {measured, body.round}))
        done = restored(self.archive, found, scratch, request, self.thaw)
        commit = _commit(scratch, body.layout, measured)
        tensors = _tensors(scratch, commit)
        self._say(
            objects=done.objects,
            unread=done.unread,
            bytes=done.bytes,
            restore_seconds=round(max(0.0, self.clock() - began - done.waited_s), 3),
            round=measured,
            model_sha256=commit.model.sha256,
            tensors=tensors,
        )
        if self.evaluation is None:
            self._say(message="by digests alone: there is no verification set")
            return
        path, sha256 = self._whole(commit)
        answer = self.evaluation.answer(
            EvaluationRequest(
                model=str(path),
                sha256=sha256,
                round=measured,
                training=_training(scratch, body.layout, commit),
            )
        )
        self._judge(answer, body.recorded)

    def _whole(self, commit: CommitRecord) -> tuple[Path, str]:
        """The file of the model that is measured, and its SHA-256: put together where a part of it travels alone."""
        folder, model, initial = self.scratch.resolve(), commit.model, commit.initial
        if initial is None or initial == model:
            return folder / model.key, model.sha256
        path = folder / "whole-model.safetensors"
        try:
            return path, wholemodel.joined(folder / initial.key, folder / model.key, path)
        except (MalformedTensorFileError, OSError) as error:
            text = f"the model of round {commit.round} cannot be put over the initial model: {error}"
            raise NotRestorableError(Reason.BACKUP_DAMAGED, text) from error

    def _judge(self, answer: EvaluationAnswer, recorded: Recorded | None) -> None:
        """NotRestorableError where the model does not show what sites had recorded of it."""
        _check_measured(answer)
        names = answer.metrics if recorded is None else recorded.metrics
        metric = self.demand.metric or headline(None, names) or ""
        self._say(samples=answer.samples, metric=metric, measured=answer.metrics.get(metric))
        if self.demand.tolerance is None:
            return
        self._say(tolerance=self.demand.tolerance)
        if recorded is None or metric not in recorded.metrics:
            what = f"sites have recorded no {metric!r}" if recorded else "no site has measured a model yet"
            text = f"{what}: there is nothing to compare with; the model gave {answer.metrics}"
            raise NotRestorableError(Reason.NOTHING_RECORDED, text)
        self._say(recorded=recorded.metrics[metric])
        if metric not in answer.metrics:
            text = (
                f"the task measured {sorted(answer.metrics)}, not {metric!r}: name another metric in spec.backup.verify"
            )
            raise NotRestorableError(Reason.EVALUATION_FAILED, text)
        off = abs(answer.metrics[metric] - recorded.metrics[metric])
        if not off <= self.demand.tolerance or math.isnan(off):
            text = f"{metric} of round {recorded.round} is {answer.metrics[metric]:.6g}, recorded was {recorded.metrics[metric]:.6g}"
            raise NotRestorableError(
                Reason.METRIC_DIFFERS, f"{text}: further than the tolerance of {self.demand.tolerance:g}"
            )


def _check_measured(answer: EvaluationAnswer) -> None:
    if answer.exit == Exit.DATA_MISSING:
        text = f"the verification set is missing: {answer.message}: look at spec.backup.verify.data"
        raise NotRestorableError(Reason.VERIFY_SET_MISSING, text)
    if answer.exit:
        text = f"the task could not measure the restored model ({reason(answer.exit)}): {answer.message}"
        raise NotRestorableError(Reason.EVALUATION_FAILED, text)


def _content(archive: Archive, found: Found, rounds: set[int]) -> frozenset[str]:
    """Paths of what those rounds have committed: after a rollback that is what an older one had made."""
    archived = Archived(archive, found)
    layout = archived.layout
    commits = (link.record for link in archived.links() if link.record.round in rounds)
    return frozenset(layout.inside(ref.key) or ref.key for commit in commits for ref in commit.objects)


def _commit(store: ObjectStore, layout: Layout, round_: int) -> CommitRecord:
    return history.of_round(history.committed(store, layout), round_)


def _tensors(store: ObjectStore, commit: CommitRecord) -> int:
    """How many tensors the whole model has. NotRestorableError when it is none."""
    with store.reader((commit.initial or commit.model).key) as reader:
        try:
            return len(_table(reader).tensors)
        except MalformedTensorFileError as error:
            text = f"the model of round {commit.round} is no model: {error}"
            raise NotRestorableError(Reason.BACKUP_DAMAGED, text) from error


def _table(reader: Reader) -> tensorfile.TensorFile:
    prefix = bytearray(min(tensorfile.PREFIX_BYTES, reader.size))
    reader.read_into(memoryview(prefix), 0)
    header = bytearray(tensorfile.header_size(bytes(prefix), reader.size))
    reader.read_into(memoryview(header), tensorfile.PREFIX_BYTES)
    return tensorfile.parsed(bytes(header), reader.size)


def _training(store: ObjectStore, layout: Layout, commit: CommitRecord) -> TrainingSettings:
    """How sites were told to train, and so to evaluate, in that round; the defaults where that is not known."""
    for key, said in history.records_of(store, layout):
        if (said.round, said.attempt, said.name) == (commit.round, commit.attempt, "plan.json"):
            try:
                return PlanRecord.stored(store.get(key)).training
            except (DamagedRecordError, NewerRecordError):
                continue
    return TrainingSettings()
