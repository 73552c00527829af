"""What a round may tell of a site, and when a job has told enough: spec.privacy.differentialPrivacy. Pure.

Called by planning, which freezes what is done to the updates, and by committing, which charges for what becomes readable.
"""

from fedapi.wire.privacy import Charge, Mechanism
from fedapi.wire.secureround import SecurePlan
from fedapi.wire.store import PlanRecord
from fedcore.privacy import account
from fedcore.rounds import distributed, lines
from fedcore.rounds.state import End, State

SPENT, UNPROTECTED = "PrivacyBudgetSpent", "EarlierRoundsUnprotected"  # why a job with a privacy budget ends early


def mechanism(state: State, denominator: int, secure: SecurePlan | None = None) -> Mechanism | None:
    """What is done to the updates of the next round; None: nothing, or no round is left, which `end` tells. `secure`: its sum's."""
    asked = state.config.privacy
    if asked is not None and secure is not None:
        return distributed.mechanism(state, secure, _rounds_left(state), denominator)
    return account.mechanism(asked, state.account, _rounds_left(state), denominator) if asked else None


def end(state: State, now: float) -> End | None:
    """How a job ends that no round is left for: with the model of the last, if there is one that it has made."""
    return None if _is_left(state) else spent(state, now)


def _is_left(state: State) -> bool:
    """Whether one more round may be had. How much noise sites add is known with its sites: by then `spent` may end the job, too."""
    asked = state.config.privacy
    if asked is not None and asked.mode == "Distributed":
        return not state.account.unprotected and distributed.is_left(state)
    return asked is None or mechanism(state, 1) is not None


def spent(state: State, now: float) -> End | None:
    """How a job with a budget ends that has no round left."""
    asked = state.config.privacy
    if asked is None:
        return None
    if state.account.unprotected:
        text = f"{state.account.unprotected} rounds that this job goes on from added no noise, so that no epsilon would hold: make a new job"
        return End("Failed", UNPROTECTED, text, now)
    told, rounds = distributed.spent(state).epsilon(asked.delta), sum(not each.skipped for each in state.history) - 1
    text = (
        f"{rounds} rounds have spent epsilon {told:.6g} (of one site, delta {asked.delta:g}), and one more would pass "
        f"targetEpsilon {asked.target_epsilon:g}: for more rounds raise it, or noiseMultiplier in a new job"
    )
    return End("Succeeded" if rounds else "Failed", SPENT, text, now)


def charge(state: State, plan: PlanRecord) -> Charge | None:
    """What the commit of a planned round releases. Whether updates came or not: that is a part of what is told."""
    done = plan.privacy
    if done is None or done.mode == "Distributed":
        return distributed.charge(state, plan)
    return Charge(
        mode=done.mode,
        clip_norm=done.clip_norm,
        noise_multiplier=done.noise_multiplier,
        epsilon=state.account.charged(done.noise_multiplier).epsilon(done.delta),
        delta=done.delta,
    )


def _rounds_left(state: State) -> int:
    return lines.last_round(state) - (state.tip.round if state.tip else 0)
