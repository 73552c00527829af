"""What a round may tell of a site, and when a job has told enough: spec.privacy.differentialPrivacy. Pure.

Called by planning, which freezes what is done to the updates, by committing, rollback and skipping, which charge for what becomes
readable, and by the status. With mode Central that is a committed model. With mode Local it is each update that a site may have
sent, so every plan is charged for, and those of a round are charged for by whichever commit comes next. Mode Distributed is in
distributed.py.
"""

import math

from fedapi import decimals
from fedapi.wire.job import JobConfig
from fedapi.wire.privacy import Charge, Mechanism, Privacy, SiteNoise
from fedapi.wire.secureround import SecurePlan
from fedcore.privacy import account, adaptive, correlated
from fedcore.privacy.account import Account
from fedcore.rounds import distributed, lines
from fedcore.rounds.effects import Fold
from fedcore.rounds.noisekeys import drawn_for
from fedcore.rounds.state import End, State

SPENT, UNPROTECTED = "PrivacyBudgetSpent", "EarlierRoundsUnprotected"  # why a job with a privacy budget ends early


def mechanism(state: State, denominator: int, secure: SecurePlan | None = None) -> Mechanism | None:
    """What the hub, or with mode Distributed the sites under masks, do to the updates of the next round; None: nothing.

    `secure`: how the round sums under masks.
    """
    if secure is not None:
        return distributed.mechanism(state, secure, _rounds_left(state), denominator)
    asked = state.config.privacy
    if asked is None or asked.mode != "Central":
        return None
    if asked.matrix_factorization is not None:
        return _row(state, asked, denominator)
    noise = _noise_multiplier(state)
    if noise is None:
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


def separation(config: JobConfig) -> int:
    """A site takes part at most every so many rounds: what the account of correlated noise goes by."""
    matrix = config.privacy.matrix_factorization if config.privacy else None
    return matrix.min_separation if matrix else 1


def site_noise(state: State) -> SiteNoise | None:
    """What the sites do to their updates of the next round; None: nothing."""
    asked, noise = state.config.privacy, _noise_multiplier(state)
    if asked is None or asked.mode != "Local" or noise is None:
        return None
    return SiteNoise(clip_norm=asked.clip_norm, clipping=asked.clipping, noise_multiplier=noise, delta=asked.delta)


def spent(state: State) -> Account:
    """What has been told of a site that was in everything, attempts since the last commit included."""
    told, account = _sent(state), distributed.spent(state)
    return account.charged(told[-1].noise_multiplier, _mu(told)) if told else account


def end(state: State, now: float) -> End | None:
    """How a job ends that no round is left for: with the model of the last, if there is one that it has made."""
    return None if _is_left(state) else over(state, now)


def over(state: State, now: float) -> End | None:
    """How a job ends whose budget is spent."""
    asked = state.config.privacy
    if asked is None:
        return None
    if state.account.unprotected:
        text = f"{state.account.unprotected} rounds that this job goes on from added no noise, so that no epsilon would hold: make a new job"
        return End("Failed", UNPROTECTED, text, now)
    told, rounds = spent(state).epsilon(asked.delta), sum(1 for each in state.history if not each.skipped) - 1
    text = (
        f"{rounds} rounds have spent epsilon {told:.6g} (of one site, delta {decimals.short(asked.delta)}), and one more would pass "
        f"targetEpsilon {asked.target_epsilon:g}: for more rounds raise it, or noiseMultiplier in a new job"
    )
    return End("Succeeded" if rounds else "Failed", SPENT, text, now)


def charge(state: State, order: Fold, within: float | None = None) -> Charge | None:
    """What the commit of a fold releases. Whether updates came or not: that is a part of what is told.

    `within`: the share of the sites whose updates were within the clip norm, where the fold has counted.
    """
    done, uid = order.privacy, state.config.uid
    if done is None:
        return sent_charge(state)
    if done.mode == "Distributed":
        return distributed.charge(state)
    made = Charge(
        mode=done.mode,
        clip_norm=done.clip_norm,
        noise_multiplier=done.noise_multiplier,
        epsilon=0.0,
        delta=done.delta,
        within=within,
        row=done.row.released(drawn_for(uid, order, done).hex()) if done.row else None,
    )
    after = state.account.with_charge(made, order.round, uid)
    return made.model_copy(update={"epsilon": after.epsilon(done.delta)})


def sent_charge(state: State) -> Charge | None:
    """With the modes of sites' own noise: for what they may have told since the last commit, whatever became of it."""
    told = _sent(state)
    if not told:
        return distributed.earlier(state)
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
    if asked is None or asked.mode == "Distributed":
        return None
    if asked.matrix_factorization is not None:
        row = _row(state, asked, 1)
        return row.noise_multiplier if row else None
    return account.noise_multiplier(asked, spent(state), _rounds_left(state))


def _is_left(state: State) -> bool:
    """Whether one more round may be had. How much noise sites add is known with its sites: by then it may be over all the same."""
    asked = state.config.privacy
    if asked is not None and asked.mode == "Distributed":
        return not state.account.unprotected and distributed.is_left(state)
    return asked is None or _noise_multiplier(state) is not None


def _row(state: State, asked: Privacy, denominator: int) -> Mechanism | None:
    """What the hub does where the noise of rounds is correlated."""
    place = correlated.Place(state.config.uid, state.round, _rounds_left(state))
    return correlated.mechanism(asked, state.account, place, denominator)


def _rounds_left(state: State) -> int:
    return lines.last_round(state) - (state.tip.round if state.tip else 0)
