"""What a round may tell of a site, and when a job has told enough: spec.privacy.differentialPrivacy. Pure.

Called by planning, which freezes what is done to the updates, by committing, rollback and skipping, which charge for what becomes
readable, and by the status. With mode Central that is a committed model. With mode Local it is each update that a site may have
sent, so every plan is charged for, and those of a round are charged for by whichever commit comes next.
"""

import math

from fedapi.wire.privacy import Charge, Mechanism, Privacy, SiteNoise
from fedapi.wire.store import PlanRecord
from fedcore.privacy import account, adaptive
from fedcore.privacy.account import Account
from fedcore.rounds import lines
from fedcore.rounds.state import End, State

SPENT, UNPROTECTED = "PrivacyBudgetSpent", "EarlierRoundsUnprotected"  # why a job with a privacy budget ends early


def mechanism(state: State, denominator: int) -> Mechanism | None:
    """What the hub does to the updates of the next round; None: nothing."""
    asked, noise = state.config.privacy, _noise_multiplier(state)
    if asked is None or asked.mode != "Central" or noise is None:
        return None
    return Mechanism(
        mode=asked.mode,
        clip_norm=clip_norm(state, asked),
        clipping=asked.clipping,
        noise_multiplier=noise,
        delta=asked.delta,
        denominator=denominator,
        count_noise=adaptive.count_noise(asked.adaptive.count_noise, noise, denominator) if asked.adaptive else None,
    )


def clip_norm(state: State, asked: Privacy) -> float:
    """Of the next round: as it is asked for, or what follows from the last that was counted."""
    moving, last = asked.adaptive, state.account.counted
    if moving is None or last is None or last.within is None:
        return asked.clip_norm
    return adaptive.next_norm(
        last.clip_norm, last.within, moving.target_quantile, moving.learning_rate, asked.clip_norm
    )


def site_noise(state: State) -> SiteNoise | None:
    """What the sites do to their updates of the next round; None: nothing."""
    asked, noise = state.config.privacy, _noise_multiplier(state)
    if asked is None or asked.mode != "Local" or noise is None:
        return None
    return SiteNoise(clip_norm=asked.clip_norm, clipping=asked.clipping, noise_multiplier=noise, delta=asked.delta)


def spent(state: State) -> Account:
    """What has been told of a site that was in everything, attempts since the last commit included."""
    told = _sent(state)
    return state.account.charged(told[-1].noise_multiplier, _mu(told)) if told else state.account


def end(state: State, now: float) -> End | None:
    """How a job ends that no round is left for: with the model of the last, if there is one that it has made."""
    asked = state.config.privacy
    if asked is None or _noise_multiplier(state) is not None:
        return None
    if state.account.unprotected:
        text = f"{state.account.unprotected} rounds that this job goes on from added no noise, so that no epsilon would hold: make a new job"
        return End("Failed", UNPROTECTED, text, now)
    told, rounds = spent(state).epsilon(asked.delta), sum(1 for each in state.history if not each.skipped) - 1
    text = (
        f"{rounds} rounds have spent epsilon {told:.6g} (of one site, delta {asked.delta:g}), and one more would pass "
        f"targetEpsilon {asked.target_epsilon:g}: for more rounds raise it, or noiseMultiplier in a new job"
    )
    return End("Succeeded" if rounds else "Failed", SPENT, text, now)


def charge(state: State, plan: PlanRecord, within: float | None = None) -> Charge | None:
    """What the commit of a planned round releases. Whether updates came or not: that is a part of what is told.

    `within`: the share of the sites whose updates were within the clip norm, where its fold has counted.
    """
    done = plan.privacy
    if done is None:
        return sent_charge(state)
    return Charge(
        mode=done.mode,
        clip_norm=done.clip_norm,
        noise_multiplier=done.noise_multiplier,
        epsilon=state.account.charged(done.noise_multiplier).epsilon(done.delta),
        delta=done.delta,
        within=within,
    )


def sent_charge(state: State) -> Charge | None:
    """With mode Local: for what sites may have sent since the last commit, whatever became of it."""
    told = _sent(state)
    if not told:
        return None
    last = told[-1]
    return Charge(
        mode="Local",
        adjacency="Replacement",
        clip_norm=last.clip_norm,
        noise_multiplier=last.noise_multiplier,
        releases=len(told),
        mu=_mu(told),
        epsilon=spent(state).epsilon(last.delta),
        delta=last.delta,
    )


def _sent(state: State) -> tuple[SiteNoise, ...]:
    """Of the attempts since the last commit, that which is under way included."""
    under_way = state.current.plan.site_noise if state.current else None
    noises = (*(failure.site_noise for failure in state.void), under_way)
    return tuple(noise for noise in noises if noise is not None)


def _mu(sent: tuple[SiteNoise, ...]) -> float:
    return math.sqrt(sum(account.mu_of("Local", noise.noise_multiplier) ** 2 for noise in sent))


def _noise_multiplier(state: State) -> float | None:
    """Of the next round; None: without privacy, or where no round is left, which `end` tells."""
    asked = state.config.privacy
    return account.noise_multiplier(asked, spent(state), _rounds_left(state)) if asked else None


def _rounds_left(state: State) -> int:
    return lines.last_round(state) - (state.tip.round if state.tip else 0)
