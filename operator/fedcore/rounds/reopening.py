"""What becomes of a closed attempt whose accepted updates turn out to be damaged: nothing was committed of it. Pure.

Called by machine. The damaged updates count no longer and their sites are asked again; all others stay accepted.
"""

from collections.abc import Mapping
from dataclasses import replace

from fedapi.wire.update import UpdateManifest
from fedcore.rounds import closing, planning
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, Withdraw
from fedcore.rounds.state import Phase, State

UPDATE_DAMAGED = "UpdateDamaged"


def reopened(state: State, found: Mapping[str, str], now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state in which the sites of damaged updates are asked again; `found` says by key what is wrong with each.

    The attempt fails where its sites have no process left to ask, where this happens more than maxFailures times, and where the
    updates were masked: no sum is opened without one that was to be in it, and its keys mask nothing else.
    """
    attempt = state.current
    if state.phase not in (Phase.OPENING, Phase.FOLDING) or attempt is None:
        return state, ()
    spoilt = damaged(attempt, found)
    state = told(state, spoilt, found)
    withdraw = Withdraw(attempt.plan.round, attempt.plan.attempt, tuple(spoilt.values()))
    if planning.by_round(state) or attempt.secure is not None or attempt.reopened >= state.config.max_failures:
        text = f"accepted updates of round {attempt.plan.round} are damaged: {'; '.join(sorted(found.values()))}"
        state, effects = closing.failed(state, attempt, UPDATE_DAMAGED, text, now)
        return state, (*effects, withdraw)
    return replace(state, phase=Phase.COLLECTING, current=_without(attempt, spoilt, now)), (withdraw,)


def damaged(attempt: Attempt, found: Mapping[str, str]) -> dict[str, UpdateManifest]:
    """The accepted updates that are, by site."""
    return {client: manifest for client, manifest in attempt.accepted.items() if _troubles(manifest, found)}


def _troubles(manifest: UpdateManifest, found: Mapping[str, str]) -> list[str]:
    """What is wrong with the files of an update."""
    return [found[ref.key] for ref in manifest.objects if ref.key in found]


def _without(attempt: Attempt, spoilt: Mapping[str, UpdateManifest], now: float) -> Attempt:
    """The attempt as if these were never sent. Its deadline begins anew: the hub's own trouble takes nobody's time."""
    accepted = {client: manifest for client, manifest in attempt.accepted.items() if client not in spoilt}
    return replace(
        attempt,
        accepted=accepted,
        closed=None,
        reopened=attempt.reopened + 1,
        deadline_at=now + attempt.plan.deadline_s,
        quorum_at=now if attempt.enough(accepted) else None,
    )


def told(state: State, spoilt: Mapping[str, UpdateManifest], found: Mapping[str, str]) -> State:
    """The state in which the sites' entries say it. It is no failure of theirs."""
    for client, manifest in spoilt.items():
        what = "; ".join(_troubles(manifest, found))
        text = f"its update of round {manifest.round} was damaged in the store: {what}"
        state = state.with_site(client, replace(state.site(client), message=text[:1024]))
    return state
