"""What is durable, and another process died before it told it in the ledger. Called at the start; writes nothing.

An entry is known by what it is about, never by its place alone: a round that was made again after a repair has the round and
attempt of another, and other digests.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from fedaggregator.engine import recorded
from fedaggregator.engine.ledger import Ledger
from fedapi.wire.commit import CommitRecord
from fedapi.wire.plan import PlanRecord
from fedapi.wire.store import FailureRecord
from fedapi.wire.update import UpdateManifest
from fedcore.ledger.entries import Entry
from fedcore.rounds.state import State

_KNOWN_BY = {
    "committed": ("commit_sha256",),
    "attemptFailed": ("failure_sha256",),
    "planned": ("plan_sha256",),
    "accepted": ("round", "attempt", "client", "payloads"),
    "ended": (),
}


class _Missing(NamedTuple):
    """What would be told, and how."""

    kind: str
    facts: Mapping[str, object]  # by which it is known
    tell: Callable[[Ledger], None]

    @property
    def key(self) -> tuple[object, ...]:
        return _key(self.kind, self.facts)


def caught_up(ledger: Ledger, state: State, told: Sequence[Entry]) -> None:
    """Tells what is missing. `told`: the newest entries, oldest first, back to the commit before the last."""
    keys = [_key(each.kind, each.facts) for each in told if each.kind in _KNOWN_BY]
    since = keys  # the last commit
    if state.tip is not None and state.tip_sha256 is not None:
        commit = _commit(state.tip, state.tip_sha256)
        if commit.key in keys:
            since = keys[len(keys) - keys[::-1].index(commit.key) :]
        else:
            commit.tell(ledger)
            since = []
    known = set(keys)
    for each in _under_way(state):
        if each.key not in known:
            each.tell(ledger)
    # A job ends after its last commit: an earlier end was of rounds that a repair went back behind.
    if state.end is not None and _key("ended", {}) not in since:
        recorded.ended(ledger, state.end)


def _under_way(state: State) -> Iterator[_Missing]:
    yield from map(_failure, state.void)
    if state.current is not None:
        yield _plan(state.current.plan)
    yield from map(_update, state.accepted.values())


def _commit(commit: CommitRecord, sha256: str) -> _Missing:
    tell = partial(recorded.committed, commit=commit, commit_sha256=sha256)
    return _Missing("committed", {"commit_sha256": sha256}, tell)


def _failure(record: FailureRecord) -> _Missing:
    of = {"failure_sha256": record.sealed().digest()}
    return _Missing("attemptFailed", of, partial(recorded.failed, failure=record))


def _plan(plan: PlanRecord) -> _Missing:
    return _Missing("planned", {"plan_sha256": plan.sealed().digest()}, partial(recorded.planned, plan=plan))


def _update(manifest: UpdateManifest) -> _Missing:
    of = {"round": manifest.round, "attempt": manifest.attempt, "client": manifest.client}
    payloads = recorded.digests(manifest)
    return _Missing("accepted", {**of, "payloads": payloads}, partial(recorded.accepted, manifest=manifest))


def _key(kind: str, facts: Mapping[str, object]) -> tuple[object, ...]:
    said = (facts.get(name) for name in _KNOWN_BY[kind])
    return kind, *(tuple(sorted(each.items())) if isinstance(each, dict) else each for each in said)
