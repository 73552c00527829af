"""What a job's releases have cost so far, and what the next may cost. Pure; the state of the rounds has one.

It is read off the commits, so it is as durable as they are: a charge is in the commit that makes its model readable, and a round
that comes to nothing costs nothing. It is of one site: whatever the site's data had been, and had it taken part or not.
"""

import math
from dataclasses import dataclass, replace

from fedapi.wire.privacy import Charge, Mode, Privacy
from fedapi.wire.store import CommitRecord
from fedcore.privacy import gaussian

_ROUNDING = 1e-9  # of a budget: what adding up in another order may make of it
# By how many clip norms a site can change what is released: its update is in the sum or not, or is any other that is as short.
_CHANGE: dict[Mode, float] = {"Central": 1.0, "Local": 2.0}
_REST = 1e-6  # of a budget, that is no round: what rounding the noise up leaves


@dataclass(frozen=True)
class Account:
    """Of all commits up to one; rolling back gives nothing back."""

    squares: float = 0.0  # the sum of mu^2
    unprotected: int = 0  # commits with updates that had no noise: no epsilon holds
    last: float | None = None  # z of the last release
    counted: Charge | None = None  # the last that counted how many updates were within its clip norm

    def with_commit(self, commit: CommitRecord) -> "Account":
        """After one more commit."""
        if (charge := commit.privacy) is not None:
            counted = self.counted if charge.within is None else charge
            return replace(self.charged(charge.noise_multiplier, charge.mu), counted=counted)
        trained = commit.round > 0 and not commit.skipped and commit.rolled_back_to is None
        return replace(self, unprotected=self.unprotected + 1) if trained else self

    def charged(self, noise_multiplier: float, mu: float | None = None) -> "Account":
        """After one release with noise of so many times the clip norm. `mu`: where that is not the noise's inverse."""
        spent = noise_multiplier**-2 if mu is None else mu**2
        return replace(self, squares=self.squares + spent, last=noise_multiplier)

    def epsilon(self, delta: float) -> float:
        """What has been spent."""
        return math.inf if self.unprotected else gaussian.epsilon_of(math.sqrt(self.squares), delta)

    def affords(self, asked: Privacy, noise_multiplier: float) -> bool:
        """Whether one more release stays within the target."""
        if asked.target_epsilon is None:
            return True
        after = self.charged(noise_multiplier, mu_of(asked.mode, noise_multiplier)).epsilon(asked.delta)
        return after <= asked.target_epsilon * (1 + _ROUNDING)


def mu_of(mode: Mode, noise_multiplier: float) -> float:
    """What one release costs: by how much a site can change it, in clip norms, over its noise."""
    return _CHANGE[mode] / noise_multiplier


def noise_multiplier(asked: Privacy, account: Account, rounds: int) -> float | None:
    """The one of the next release: as it is asked for, or so that as many more rounds spend the target; None: nothing is left.

    Of rounds that are all alike it is the same in each: sqrt(rounds) / mu of the target, with mode Local twice that.
    """
    if asked.noise_multiplier is not None:
        return asked.noise_multiplier if account.affords(asked, asked.noise_multiplier) else None
    if asked.target_epsilon is None:
        raise ValueError("privacy needs noise_multiplier or target_epsilon")
    budget = gaussian.mu_of(asked.target_epsilon, asked.delta) ** 2
    left = budget - account.squares
    if left <= budget * _REST:
        return None
    found = _rounded_up(_CHANGE[asked.mode] * math.sqrt(max(1, rounds) / left))
    return found if account.affords(asked, found) else None


def _rounded_up(value: float) -> float:
    """To 9 digits, so that rounds that are all alike have the same number, and the last of them is still afforded."""
    scale = 10.0 ** (8 - math.floor(math.log10(value)))
    return math.ceil(value * scale) / scale
