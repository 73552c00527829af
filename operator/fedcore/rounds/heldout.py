"""Held-out sites: they evaluate committed models and take part in no round, which waits for none of them. Pure.

Asked by assignment (whom to tell to evaluate), admission (what to take), committing (whom the last step waits for, within its
bound) and the status. What the sites that train report is in evaluation.py; nothing here decides a bit of a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcore.rounds.state import Phase, State


def is_held_out(state: State, client: str) -> bool:
    """Whether a site evaluates alone. One that has trained in this job before it was held out would measure what it knows."""
    return client in state.roster.held_out and state.site(client).rounds == 0


def due(state: State) -> frozenset[str]:
    """Sites that are to evaluate the model of the last commit: of every n-th round, and of the last."""
    settings, tip = state.config.evaluation, state.tip
    if settings is None or tip is None:
        return frozenset()
    if state.phase is not Phase.EVALUATING and tip.round % settings.every_rounds:
        return frozenset()
    return frozenset(client for client in state.roster.held_out if is_held_out(state, client))


def done(state: State) -> frozenset[str]:
    """Sites that have."""
    return frozenset(
        client for client, record in state.site_evaluations.items() if state.tip and record.round == state.tip.round
    )


def wanted(state: State, client: str) -> bool:
    """Whether a site is to do so now."""
    if client not in state.roster.held_out or state.phase is Phase.FINISHED:
        return False
    return client in due(state) and client not in done(state) and client not in state.excused


def at_hand(state: State) -> frozenset[str]:
    """Sites that the last step waits for, as long as for the others: those that were heard, or have evaluated, in this job.

    With lifetime Round none has a process before it is asked.
    """
    able = (client for client in state.roster.held_out if is_held_out(state, client))
    if state.config.evaluation is None:
        return frozenset()
    if state.config.lifetime == "Round":
        return frozenset(able)
    return frozenset(
        client for client in able if state.site(client).heard_at is not None or client in state.site_evaluations
    )


def evaluated(state: State, record: SiteEvaluationRecord) -> State:
    """The state with a site's evaluation, if it is its newest and of a model that is committed."""
    if not record.held_out:
        return state  # of a site that trains, which was asked for it
    before = state.site_evaluations.get(record.client)
    if before is not None and before.round >= record.round:
        return state
    if not is_committed(state, record.round, record.model_sha256):
        return state  # a repair went back behind that round
    return replace(state, site_evaluations={**state.site_evaluations, record.client: record})


def is_committed(state: State, round_: int, model_sha256: str) -> bool:
    """Whether that is the model of that round."""
    return 0 <= round_ < len(state.history) and state.history[round_].model == model_sha256


@dataclass(frozen=True)
class Newest:
    """What held-out sites measured of the newest model that any of them has evaluated."""

    round: int
    records: Mapping[str, SiteEvaluationRecord]  # by site, in name order


def newest(state: State) -> Newest | None:
    """None before the first evaluation, and without held-out sites."""
    known = {
        client: state.site_evaluations[client]
        for client in sorted(state.site_evaluations)
        if is_held_out(state, client)
    }
    if not known:
        return None
    last = max(record.round for record in known.values())
    return Newest(last, {client: record for client, record in known.items() if record.round == last})
