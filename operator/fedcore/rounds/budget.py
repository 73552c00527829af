"""What a round may tell of a site, and when a job has told enough: spec.privacy.differentialPrivacy. Pure.

Called by planning, which freezes what is done to the updates, and by committing, which charges for what becomes readable.
"""

from fedapi.wire.job import JobConfig
from fedapi.wire.privacy import Charge, Mechanism
from fedcore.privacy import account, correlated
from fedcore.rounds import lines
from fedcore.rounds.effects import Fold
from fedcore.rounds.noisekeys import drawn_for
from fedcore.rounds.state import End, State

SPENT, UNPROTECTED = "PrivacyBudgetSpent", "EarlierRoundsUnprotected"  # why a job with a privacy budget ends early


def mechanism(state: State, denominator: int) -> Mechanism | None:
    """What is done to the updates of the next round; None: nothing, or no round is left, which `end` tells."""
    asked = state.config.privacy
    if asked is None:
        return None
    if asked.matrix_factorization is None:
        return account.mechanism(asked, state.account, _rounds_left(state), denominator)
    place = correlated.Place(state.config.uid, state.round, _rounds_left(state))
    return correlated.mechanism(asked, state.account, place, denominator)


def separation(config: JobConfig) -> int:
    """A site takes part at most every so many rounds: what the account of correlated noise goes by."""
    matrix = config.privacy.matrix_factorization if config.privacy else None
    return matrix.min_separation if matrix else 1


def end(state: State, now: float) -> End | None:
    """How a job ends that no round is left for: with the model of the last, if there is one that it has made."""
    asked = state.config.privacy
    if asked is None or mechanism(state, 1) is not None:
        return None
    if state.account.unprotected:
        text = f"{state.account.unprotected} rounds that this job goes on from added no noise, so that no epsilon would hold: make a new job"
        return End("Failed", UNPROTECTED, text, now)
    spent, rounds = state.account.epsilon(asked.delta), sum(1 for each in state.history if not each.skipped) - 1
    text = (
        f"{rounds} rounds have spent epsilon {spent:.6g} (of one site, delta {asked.delta:g}), and one more would pass "
        f"targetEpsilon {asked.target_epsilon:g}: for more rounds raise it, or noiseMultiplier in a new job"
    )
    return End("Succeeded" if rounds else "Failed", SPENT, text, now)


def charge(state: State, order: Fold) -> Charge | None:
    """What the commit of a fold releases. Whether updates came or not: that is a part of what is told."""
    done, uid = order.privacy, state.config.uid
    if done is None:
        return None
    made = Charge(
        mode=done.mode,
        clip_norm=done.clip_norm,
        noise_multiplier=done.noise_multiplier,
        epsilon=0.0,
        delta=done.delta,
        row=done.row.released(drawn_for(uid, order, done).hex()) if done.row else None,
    )
    spent = state.account.with_charge(made, order.round, uid).epsilon(done.delta)
    return made.model_copy(update={"epsilon": spent})


def _rounds_left(state: State) -> int:
    return lines.last_round(state) - (state.tip.round if state.tip else 0)
