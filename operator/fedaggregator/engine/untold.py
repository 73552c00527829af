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
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.state import State

_KNOWN_BY = {
    "committed": ("commit_sha256",),
    "attemptFailed": ("failure_sha256",),
    "planned": ("plan_sha256",),
    "accepted": ("round", "attempt", "client", "payloads"),
    "participants": ("round", "attempt", "participants_sha256"),
    "survivors": ("round", "attempt", "survivors"),
    "opened": ("round", "attempt", "openers"),
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
        yield from _participants(state.current)
    yield from map(_update, state.accepted.values())
    if state.current is not None:
        yield from _opened(state.current)


def _participants(attempt: Attempt) -> Iterator[_Missing]:
    found = attempt.secure.hub.participants if attempt.secure else None
    if found is not None:
        of = {"round": attempt.plan.round, "attempt": attempt.plan.attempt}
        sha256, sites = found.fingerprint().hex(), [each.site for each in found.advertisements]
        tell = partial(recorded.participants, round_=of["round"], attempt=of["attempt"], sha256=sha256, sites=sites)
        yield _Missing("participants", {**of, "participants_sha256": sha256}, tell)


def _opened(attempt: Attempt) -> Iterator[_Missing]:
    """The survivors, and who has opened their sum, as far as that is recorded."""
    plan, exchange = attempt.plan, attempt.secure
    if exchange is None or attempt.closed is None:
        return
    for kind, fact, tell, sites in (
        ("survivors", "survivors", recorded.survivors, list(attempt.closed)),
        ("opened", "openers", recorded.opened, sorted(exchange.openers)),
    ):
        if sites:
            of = {"round": plan.round, "attempt": plan.attempt, fact: recorded.first_of(sites)}
            yield _Missing(kind, of, partial(tell, round_=plan.round, attempt=plan.attempt, sites=sites))


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
    return kind, *map(_hashable, said)


def _hashable(fact: object) -> object:
    if isinstance(fact, dict):
        return tuple(sorted(fact.items()))
    return tuple(fact) if isinstance(fact, list) else fact
