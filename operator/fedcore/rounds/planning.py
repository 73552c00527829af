"""Whether an attempt can begin now, and its plan. Pure; called by machine.

Sites run next to the hub (placement Local): one that was never heard is on its way and may be selected,
one that fell silent may not. With lifetime Round a site has no process until it is selected: silence says nothing,
and no plan waits for anybody to connect.
"""

from dataclasses import replace

from fedapi.duration import quorum_count
from fedapi.names import SITE_LEASE_ACTIVE_S
from fedapi.wire.job import JobConfig
from fedapi.wire.store import Acceptance, PlanRecord, Selection
from fedcore.rounds import compatibility
from fedcore.rounds.effects import Effect, WritePlan
from fedcore.rounds.state import Attempt, Phase, State
from fedcore.selection import choice


def connected(state: State, now: float) -> tuple[str, ...]:
    """Eligible sites that were heard lately."""
    return tuple(name for name in state.roster.eligible if _active(state, name, now))


def reachable(state: State, now: float) -> tuple[str, ...]:
    """Eligible sites that were heard lately or never."""
    if by_round(state):
        return tuple(state.roster.eligible)
    return tuple(n for n in state.roster.eligible if state.site(n).heard_at is None or _active(state, n, now))


def by_round(state: State) -> bool:
    """Whether a site's processes live for one round: training.lifetime Round."""
    return state.config.lifetime == "Round"


def unheard(state: State, client: str) -> bool:
    """Whether the process that a site has now was never heard from."""
    heard_at, attempt = state.site(client).heard_at, state.current
    earlier = by_round(state) and attempt is not None and heard_at is not None and heard_at < attempt.plan.planned_at
    return heard_at is None or earlier


def missing_sites(state: State, now: float) -> int:
    """How many sites must still come: for minAvailable in round 1, and in any round for a quorum that is a count.

    The first attempt waits until they are connected; a later one goes on without a silent site, not without a lost one.
    """
    waits = state.attempt == 1 and not by_round(state)
    fit = connected(state, now) if waits else _able(state)
    unconnected = state.config.min_available - len(fit) if state.round == 1 else 0
    unreachable = choice.least(state.config) - len(reachable(state, now))
    return max(0, unconnected, unreachable)


def _able(state: State) -> tuple[str, ...]:
    return tuple(n for n in state.roster.eligible if by_round(state) or not misfit(state, n))


def misfit(state: State, client: str) -> str:
    """Why a site gets no order, because it would not understand it or could not do it; empty when it may get one.

    In a round that it takes part in the plan decides, before and after the configuration. Once the job has ended there
    are no orders, and a site is told so whatever it cannot do; one that would not understand that gets no answer either.
    """
    attempt, speech = state.current, state.site(client).speech
    if unheard(state, client):
        return ""
    if state.phase is Phase.FINISHED:
        return compatibility.stranger(speech)
    takes_part = attempt is not None and (client in attempt.pending or client in attempt.accepted)
    return compatibility.misfit(speech, attempt.plan if attempt and takes_part else state.config)


def _too_few_came(state: State) -> bool:
    """The same for the first attempt of round 1, told by a count while sites come one after the other."""
    return state.round == state.attempt == 1 and not by_round(state) and len(state.sites) < state.config.min_available


def planned(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state with a new attempt, when one can begin."""
    if state.phase is not Phase.WAITING or state.tip is None or _too_few_came(state) or missing_sites(state, now):
        return state, ()
    candidates = reachable(state, now)
    chosen = choice.selected(state.config, candidates, state.round, state.attempt)
    if not chosen:
        return state, ()
    plan = _plan(state, chosen, len(candidates), now)
    return replace(state, phase=Phase.COLLECTING, current=attempt_of(state, plan, now)), (WritePlan(plan),)


def attempt_of(state: State, plan: PlanRecord, now: float) -> Attempt:
    """A fresh attempt by that plan; its deadline counts from now. What a plan of version 0.1 lacks, the configuration says."""
    acceptance = plan.acceptance or _acceptance(state.config)
    return Attempt(
        plan=plan,
        quorum=plan.quorum or quorum_count(state.config.quorum, len(plan.selected)),
        grace_s=acceptance.grace_after_quorum_s,
        max_samples=acceptance.max_samples,
        deadline_at=now + plan.deadline_s,
    )


def _acceptance(config: JobConfig) -> Acceptance:
    return Acceptance(grace_after_quorum_s=config.grace_after_quorum_s, max_samples=config.max_samples)


def _plan(state: State, chosen: tuple[str, ...], candidates: int, now: float) -> PlanRecord:
    config = state.config
    if state.tip is None:
        raise ValueError("a round needs a committed model")
    return PlanRecord(
        job_uid=config.uid,
        round=state.round,
        attempt=state.attempt,
        epoch=state.epoch,
        base=state.tip.model,
        selected=chosen,
        selection=Selection(
            policy=config.policy, per_round=config.per_round, fraction=config.fraction, candidates=candidates
        ),
        strategy=config.strategy,
        encryption=config.encryption,
        quorum=quorum_count(config.quorum, len(chosen)),
        acceptance=_acceptance(config),
        planned_at=now,
        deadline_s=config.deadline_s,
        evaluate_base=True,
        training=config.training,
        image=config.image,
    )


def _active(state: State, client: str, now: float) -> bool:
    heard_at = state.site(client).heard_at
    return heard_at is not None and now - heard_at <= SITE_LEASE_ACTIVE_S and not misfit(state, client)
