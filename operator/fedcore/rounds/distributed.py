"""What a round tells of a site where sites add the noise under their masks: differentialPrivacy.mode Distributed. Pure.

Called by budget. An attempt is a release as soon as its survivor set is told to sites: from then on the hub may have the sum opened,
whatever becomes of the attempt. So an attempt that fails after that is charged for in its failure record, and by the next commit.
"""

from typing import TYPE_CHECKING

from fedapi.wire.privacy import Charge, Mechanism
from fedapi.wire.secureround import SecurePlan
from fedcore.privacy.account import Account
from fedcore.privacy.distributed import concentrated
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.state import State

if TYPE_CHECKING:
    from fedcore.privacy.distributed.lattice import Lattice

_ROUNDING = 1e-9  # of a budget: what adding up in another order may make of it
_REST = 1e-6  # of a budget, that is no round


def spent(state: State) -> Account:
    """What has been told of a site that was in everything, attempts since the last commit included."""
    account = state.account
    for charge in _failed(state):
        account = account.charged(charge.noise_multiplier, rho=charge.rho)
    return account


def is_left(state: State) -> bool:
    """Whether the target allows for one more round; of what its sites cost beyond an exact Gaussian `mechanism` decides."""
    asked, rest = state.config.privacy, _left(state)
    if asked is None or rest is None:
        return True
    return rest > 0 if asked.noise_multiplier is None else rest * (1 + _ROUNDING) >= asked.noise_multiplier**-2 / 2


def _left(state: State) -> float | None:
    """How much zCDP the target still allows for; None: there is no target."""
    asked = state.config.privacy
    if asked is None or asked.target_epsilon is None:
        return None
    budget = concentrated.rho_for(asked.target_epsilon, asked.delta)
    rest = budget - spent(state).zcdp
    return rest if rest > budget * _REST else 0.0


def mechanism(state: State, secure: SecurePlan, rounds: int, denominator: int) -> Mechanism | None:
    """What the sites of a round do to their updates; None: it would pass the target, or the ring does not hold so much noise."""
    asked, rest = state.config.privacy, _left(state)
    if asked is None or rest == 0.0:
        return None
    try:
        found = _lattice(secure, asked.clip_norm, asked.noise_multiplier or 1.0)
        if asked.noise_multiplier is None and rest is not None:
            found = concentrated.calibrated_to(found, rest / max(1, rounds))
        elif rest is not None and concentrated.rho_of(found) > rest * (1 + _ROUNDING):
            return None
    except ValueError:
        return None
    return Mechanism(
        mode="Distributed",
        clip_norm=asked.clip_norm,
        clipping="Flat",
        noise_multiplier=found.noise_multiplier,
        delta=asked.delta,
        denominator=denominator,
    )


def charge(state: State) -> Charge | None:
    """What the commit of the attempt under way tells, with all attempts since the commit before."""
    plan = state.current.plan if state.current else None
    if plan is None or plan.privacy is None or plan.secure is None:
        return earlier(state)
    done = plan.privacy
    rho = concentrated.rho_of(_lattice(plan.secure, done.clip_norm, done.noise_multiplier))
    return _charge(state, done, rho + sum(each.rho or 0.0 for each in _failed(state)))


def earlier(state: State) -> Charge | None:
    """What attempts since the last commit have told that came to nothing: for a commit without updates."""
    failed = _failed(state)
    return _charge(state, failed[-1], sum(each.rho or 0.0 for each in failed)) if failed else None


def of_failure(state: State, attempt: Attempt) -> Charge | None:
    """What an attempt that comes to nothing has told: nothing before its survivor set was named."""
    done, secure = attempt.plan.privacy, attempt.plan.secure
    if attempt.closed is None or done is None or secure is None or done.mode != "Distributed":
        return None
    rho = concentrated.rho_of(_lattice(secure, done.clip_norm, done.noise_multiplier))
    account = spent(state).charged(done.noise_multiplier, rho=rho)
    return _charge(state, done, rho).model_copy(update={"epsilon": account.epsilon(done.delta)})


def _charge(state: State, done: Mechanism | Charge, rho: float) -> Charge:
    return Charge(
        mode="Distributed",
        clip_norm=done.clip_norm,
        noise_multiplier=done.noise_multiplier,
        rho=rho,
        epsilon=state.account.charged(done.noise_multiplier, rho=rho).epsilon(done.delta),
        delta=done.delta,
    )


def _failed(state: State) -> tuple[Charge, ...]:
    return tuple(failure.privacy for failure in state.void if failure.privacy is not None)


def _lattice(secure: SecurePlan, clip_norm: float, noise_multiplier: float) -> "Lattice":
    """The steps and shares of a planned round, as its sites make them."""
    from fedcore.privacy.distributed.lattice import Lattice  # noqa: PLC0415 - `cryptography` is loaded where updates are masked

    return Lattice(
        clip_norm=clip_norm,
        items=secure.items,
        sites=len(secure.roster),
        honest=secure.threshold - secure.colluding,
        noise_multiplier=noise_multiplier,
    )
