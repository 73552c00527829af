"""Whether an attempt can begin now, and its plan. Pure; called by machine.

Sites run next to the hub (placement Local): one that was never heard is on its way and may be selected,
one that fell silent may not. With lifetime Round a site has no process until it is selected: silence says nothing,
and no plan waits for anybody to connect.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fedapi.duration import quorum_count
from fedapi.names import SITE_LEASE_ACTIVE_S
from fedapi.wire.compression import codec
from fedapi.wire.job import JobConfig
from fedapi.wire.plan import Acceptance, Overridden, PlanRecord, Selection
from fedcore.rounds import (
    broadcasting,
    budget,
    compatibility,
    ending,
    evaluateonly,
    participation,
    secureplan,
    signatures,
    skipping,
    spentsites,
    training,
    window,
)
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, WritePlan
from fedcore.rounds.state import End, Phase, State
from fedcore.selection import choice
from fedcore.selection.candidates import Candidate


def connected(state: State, now: float) -> tuple[str, ...]:
    """Eligible sites that were heard lately and can sign."""
    return tuple(n for n in state.roster.eligible if _active(state, n, now) and not signatures.untimely(state, n, now))


def reachable(state: State, now: float) -> tuple[str, ...]:
    """Eligible sites that were heard lately or never, or whose update is here, and that can sign and have not spent their privacy budget."""
    able = [n for n in secureplan.able(state, state.roster.eligible, now) if not spentsites.is_spent(state, n)]
    able = [n for n in able if n in state.carried or not signatures.untimely(state, n, now)]
    if by_round(state):
        return tuple(able)
    return tuple(n for n in able if n in state.carried or state.site(n).heard_at is None or _active(state, n, now))


def returns(state: State, client: str, now: float) -> bool:
    """Whether a site that is heard from now could not be reached before."""
    return not by_round(state) and state.site(client).heard_at is not None and not _active(state, client, now)


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
    unconnected = state.config.min_available - len(_fit(state, now)) if state.round == 1 else 0
    within, root = reachable(state, now), state.config.strategy.root
    unreachable = choice.least(state.config) - len(within)
    return max(0, unconnected, unreachable, int(bool(root) and root not in within))


def _fit(state: State, now: float) -> tuple[str, ...]:
    if state.attempt == 1 and not by_round(state):
        return connected(state, now)
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
    if attempt and takes_part:
        why = compatibility.misfit(speech, attempt.plan, training=attempt.plan.training_of(client))
    else:
        partial = state.tip is not None and state.tip.initial is not None
        why = compatibility.misfit(speech, state.config, partial=partial, training=state.training_of(client))
    return why or secureplan.misfit(state, client) or signatures.keyless(state, client)


def _too_few_came(state: State) -> bool:
    """The same for the first attempt of round 1, told by a count while sites come one after the other."""
    return state.round == state.attempt == 1 and not by_round(state) and len(state.sites) < state.config.min_available


def planned(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    """The state with a new attempt, when one can begin; or after a round that nobody takes part in."""
    if state.phase is Phase.WAITING and state.skip is not None and state.skip.stands(state, now):
        return state, ()
    if state.phase is not Phase.WAITING or state.tip is None:
        return _calm(state), ()
    if evaluateonly.applies(state):
        return _calm(state) if _waits(state, now) else evaluateonly.begun(state, now), ()
    if (end := spentsites.over(state, now)) is not None:
        return _ended(_calm(state), end, now), ()
    state, effects = broadcasting.due(state)  # while that is done, sites come
    state, more = secureplan.due(state)
    return (state, (*effects, *more)) if effects or more else _begun(state, now)


def _waits(state: State, now: float) -> bool:
    """Whether sites must come first."""
    return _too_few_came(state) or missing_sites(state, now) > 0 or not reachable(state, now)


def _begun(state: State, now: float) -> tuple[State, tuple[Effect, ...]]:
    if not broadcasting.is_ready(state) or not secureplan.is_ready(state) or _waits(state, now):
        return _calm(state), ()
    names = reachable(state, now)
    due, least = _due(state, names), choice.least(state.config)
    if len(due) < least or choice.rootless(state.config, due):
        awaited = len(_due(state, _unspent(state))) >= least
        return skipping.skipped(state, skipping.NOBODY_DUE, now, awaited=awaited)
    chosen = choice.selected(state.config, due, state.round, state.attempt)
    if len(chosen) < choice.fewest(state.config):  # a draw of Poisson, which nothing may enlarge
        return skipping.skipped(state, skipping.SMALL_DRAW if chosen else skipping.EMPTY_DRAW, now)
    plan = _plan(state, chosen, len(due), now)
    if secureplan.is_noisy(state.config) and plan.privacy is None:
        # How much noise a sum takes is known with its sites: by now, after the last commit, it may be a round too many.
        return _ended(_calm(state), budget.over(state, now), now), ()
    return replace(state, phase=Phase.COLLECTING, current=attempt_of(state, plan, now)), (WritePlan(plan),)


def _unspent(state: State) -> list[str]:
    return [name for name in state.roster.eligible if not spentsites.is_spent(state, name)]


def _ended(state: State, end: End | None, now: float) -> State:
    """The state of a job that no round is left for."""
    state = replace(state, carried={})
    if end is None or end.result == "Failed":  # there is no model of the job's to evaluate
        return replace(state, end=end)
    return ending.evaluating(state, end, now)


def _calm(state: State) -> State:
    """The state in which no round waits to be skipped."""
    return state if state.skip is None else replace(state, skip=None)


def _due(state: State, names: Iterable[str]) -> list[Candidate]:
    """Those of some sites that are due by their participation.everyRounds and the job's noise, as a policy sees them."""
    strata, found, void = state.config.strata, [], _void(state)
    apart = budget.separation(state.config)
    for name in names:
        entry, part = state.roster.by_name[name], state.site(name).part
        every = max(entry.every_rounds, apart)
        if name not in state.carried and part.last_selected and state.round - part.last_selected < every:
            continue
        for open_s in void.get(name, ()):
            part = participation.in_vain(part, state.round, open_s)
        stratum = strata[entry.stratum] if entry.stratum is not None and entry.stratum < len(strata) else ""
        found.append(
            Candidate(
                name=name,
                stratum=stratum,
                turn=part.turn,
                last_round=part.last_round,
                training_s=part.training_s,
                missed=part.missed,
                missed_round=part.missed_round,
                missed_s=part.missed_s,
            )
        )
    return found


def _void(state: State) -> Mapping[str, list[float]]:
    """Sites that missed attempts of this round which came to nothing, and how long each of those was open."""
    found: dict[str, list[float]] = {}
    for failure in state.void:
        for client in failure.missed:
            found.setdefault(client, []).append(failure.open_s)
    return found


def attempt_of(state: State, plan: PlanRecord, now: float) -> Attempt:
    """A fresh attempt by that plan; its deadline counts from now. What a plan of version 0.1 lacks, the configuration says."""
    acceptance = plan.acceptance or _acceptance(state.config)
    return Attempt(
        plan=plan,
        quorum=plan.quorum or quorum_count(state.config.quorum, len(plan.selected)),
        wanted=plan.wanted or len(plan.selected),
        grace_s=acceptance.grace_after_quorum_s,
        max_samples=acceptance.max_samples,
        deadline_at=now + plan.deadline_s,
        max_staleness=acceptance.max_staleness,
        secure=secureplan.begun(plan),
    )


def _acceptance(config: JobConfig) -> Acceptance:
    return Acceptance(
        grace_after_quorum_s=config.grace_after_quorum_s,
        max_samples=config.max_samples,
        max_staleness=window.max_staleness(config),
    )


def _plan(state: State, chosen: tuple[str, ...], candidates: int, now: float) -> PlanRecord:
    config = state.config
    if state.tip is None:
        raise ValueError("a round needs a committed model")
    wanted = len(chosen)
    if config.over_selection:
        wanted = choice.wanted(config, candidates) + bool(config.strategy.root)  # who is trusted comes beside the draw
    if window.is_asynchronous(config):
        wanted = window.buffer_size(config, len(chosen))
    secure = secureplan.planned(state, chosen, now)
    needed = choice.updates(config.strategy, secure.groups if secure else None)
    quorum = max(quorum_count(config.quorum, min(wanted, len(chosen))), needed)
    return PlanRecord(
        job_uid=config.uid,
        round=state.round,
        attempt=state.attempt,
        epoch=state.epoch,
        base=state.tip.model,
        broadcast=broadcasting.broadcast(state),
        reference=broadcasting.reference(state),
        initial=state.tip.initial,
        anomalies=config.anomalies,
        selected=chosen,
        selection=Selection(
            policy=config.policy,
            per_round=config.per_round,
            fraction=config.fraction,
            candidates=candidates,
            over_selection=config.over_selection,
        ),
        strategy=config.strategy,
        codec=codec(config.compression),
        compression=config.compression,
        encryption=config.encryption if secure is None else None,
        quorum=quorum if secure is None else max(quorum, secure.threshold, secure.minimum_cohort),
        wanted=wanted if wanted < len(chosen) else None,
        acceptance=_acceptance(config),
        planned_at=now,
        deadline_s=config.deadline_s,
        evaluate_base=True,
        training=training.settings(config),
        overrides=_overrides(state, chosen),
        privacy=budget.mechanism(state, wanted, secure),
        site_noise=budget.site_noise(state),
        secure=secure,
        image=config.image,
    )


def _overrides(state: State, chosen: Iterable[str]) -> tuple[Overridden, ...]:
    """What some of the chosen sites, which are sorted, do otherwise."""
    whose: dict[int, list[str]] = {}
    for client in chosen:
        number = state.roster.by_name[client].override
        if number is not None and number < len(state.config.overrides):
            whose.setdefault(number, []).append(client)
    return tuple(Overridden(clients=tuple(whose[n]), **state.config.overrides[n].model_dump()) for n in sorted(whose))


def _active(state: State, client: str, now: float) -> bool:
    heard_at = state.site(client).heard_at
    return heard_at is not None and now - heard_at <= SITE_LEASE_ACTIVE_S and not misfit(state, client)
