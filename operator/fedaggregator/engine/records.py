"""Reads a job's records from the store: taking HEAD, and the log that recovery replays. Called by the engine at start.

Blocking; run in a thread.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import TypeVar

from fedaggregator.errors import Fatal
from fedapi.outcome import Exit
from fedapi.wire.message import Message
from fedapi.wire.site import EvaluationReport, UpdateManifest
from fedapi.wire.store import CloseRecord, CommitRecord, EvaluationRecord, FailureRecord, Head, Layout, PlanRecord
from fedcore.recovery import Log
from fedstore.errors import HeadMoved
from fedstore.objectstore import ObjectStore

PLAN, CLOSE, COMMIT, EVALUATION, FAILURE = "plan.json", "close.json", "commit.json", "evaluation.json", "failure.json"
_M = TypeVar("_M", bound=Message)


def take_head(store: ObjectStore, layout: Layout) -> tuple[Head, str]:
    """HEAD with the epoch raised by one, and its tag. From here on an older aggregator can no longer commit."""
    while True:
        found = store.head(layout.head)
        before = Head.model_validate_json(found.data) if found else None
        head = before.model_copy(update={"epoch": before.epoch + 1}) if before else Head(epoch=1, round=-1)
        try:
            written = store.replace_head(layout.head, head.canonical(), found.tag if found else None)
        except HeadMoved:
            continue
        return head, written.tag


def load_log(store: ObjectStore, layout: Layout, head: Head) -> Log:
    """Everything that recovery needs."""
    keys = sorted(store.keys(f"{layout.rounds()}/"), key=_numbers)
    commits = _chain(store, keys, head)
    open_round = [key for key in keys if key.startswith(f"{layout.round(head.round + 1)}/")]
    tip = commits[-1] if commits else None
    tip_plans = _read(store, (k for k in keys if tip and k.startswith(f"{layout.round(tip.round)}/")), PLAN, PlanRecord)
    updates = list(store.keys(layout.updates("")))
    manifests = f"_round_{head.round + 1}-a"
    return Log(
        head=head,
        commits=tuple(commits),
        evaluations=tuple(_evaluations(store, keys, commits, finished=head.finished is not None)),
        tip_selected=max((len(p.selected) for p in tip_plans if tip and p.attempt == tip.attempt), default=0),
        plans=_read(store, open_round, PLAN, PlanRecord),
        failures=_read(store, open_round, FAILURE, FailureRecord),
        closes=_read(store, open_round, CLOSE, CloseRecord),
        manifests=_read(store, (k for k in updates if manifests in k), ".manifest.json", UpdateManifest),
        reports=_read(store, updates, f"_round_{head.round}.evaluation.json", EvaluationReport),
    )


def _numbers(key: str) -> list[int]:
    """Sorts records by round, epoch and attempt as numbers: epoch 10 comes after epoch 2."""
    return [int(number) for number in re.findall("[0-9]+", key)]


def _read(store: ObjectStore, keys: Iterable[str], suffix: str, model: type[_M]) -> tuple[_M, ...]:
    return tuple(model.model_validate_json(store.get(key)) for key in keys if key.endswith(suffix))


def _chain(store: ObjectStore, keys: list[str], head: Head) -> list[CommitRecord]:
    """The commits that HEAD reaches, oldest first; each is bound to the one before by digest."""
    by_digest = {}
    for key in keys:
        if key.endswith(f"/{COMMIT}"):
            data = store.get(key)
            by_digest[hashlib.sha256(data).hexdigest()] = data
    chain: list[CommitRecord] = []
    digest = head.commit_sha256
    while digest is not None:
        if digest not in by_digest:
            raise Fatal(Exit.STORE_FAILED, f"the store lacks the commit record {digest} that HEAD reaches: restore it")
        chain.append(CommitRecord.model_validate_json(by_digest[digest]))
        digest = chain[-1].previous_sha256
    return chain[::-1]


def _evaluations(
    store: ObjectStore, keys: list[str], commits: list[CommitRecord], *, finished: bool
) -> list[EvaluationRecord]:
    """Evaluations that commits are bound to; of a finished job also that of its last model."""
    bound = {commit.evaluation_sha256 for commit in commits}
    found: dict[int, EvaluationRecord] = {}
    for key in keys:
        if not key.endswith(f"/{EVALUATION}"):
            continue
        data = store.get(key)
        record = EvaluationRecord.model_validate_json(data)
        last = finished and bool(commits) and record.round == commits[-1].round
        if hashlib.sha256(data).hexdigest() in bound or last:
            found[record.round] = record  # of several, that of the newest epoch
    return [found[round_] for round_ in sorted(found)]
