"""What a job's releases have cost so far, and what the next may cost. Pure; the state of the rounds has one.

It is read off the commits, so it is as durable as they are: a charge is in the commit that makes its model readable, and a round
that comes to nothing costs nothing. It is of one site: whatever the site's data had been, and had it taken part or not.
"""

import math
from dataclasses import dataclass, replace

from fedapi.wire.commit import CommitRecord
from fedapi.wire.privacy import Charge, Mode, Privacy
from fedcore.privacy import gaussian
from fedcore.privacy.distributed import concentrated
from fedcore.privacy.matrix import Matrix

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
    matrix: Matrix | None = None  # whose next row the next release may be
    rho: float = 0.0  # of releases whose noise sites have added: zCDP

    def with_commit(self, commit: CommitRecord) -> "Account":
        """After one more commit. A rollback takes back what earlier noise was to be taken back from: it ends a matrix."""
        if commit.privacy is not None:
            return self.with_charge(commit.privacy, commit.round, commit.job_uid)
        if commit.rolled_back_to is not None:
            return replace(self, matrix=None)
        trained = commit.round > 0 and not commit.skipped
        return replace(self, unprotected=self.unprotected + 1) if trained else self

    def with_charge(self, charge: Charge, round_: int, job_uid: str) -> "Account":
        """After what was released since the commit before that of a round."""
        if charge.row is None:
            counted = self.counted if charge.within is None else charge
            after = self.charged(charge.noise_multiplier, charge.mu, charge.rho)
            return replace(after, matrix=None, counted=counted)
        matrix = Matrix.of(self.matrix, self.squares, charge, charge.row, round_, job_uid)
        return replace(self, squares=matrix.squares(round_), last=charge.noise_multiplier, matrix=matrix)

    def charged(self, noise_multiplier: float, mu: float | None = None, rho: float | None = None) -> "Account":
        """After one release with noise of so many times the clip norm. `mu`: where that is not its inverse; `rho`: zCDP of noise under masks."""
        if rho is not None:
            return replace(self, rho=self.rho + rho, last=noise_multiplier)
        spent = noise_multiplier**-2 if mu is None else mu**2
        return replace(self, squares=self.squares + spent, last=noise_multiplier)

    @property
    def zcdp(self) -> float:
        """All of it as zCDP: mu-GDP is (mu^2 / 2)-zCDP."""
        return self.rho + self.squares / 2

    def epsilon(self, delta: float) -> float:
        """What has been spent."""
        if self.rho and not self.unprotected:
            return concentrated.epsilon_of(self.zcdp, delta)
        return math.inf if self.unprotected else gaussian.epsilon_of(math.sqrt(self.squares), delta)

    def within(self, asked: Privacy) -> bool:
        """Whether what has been spent stays within the target."""
        return asked.target_epsilon is None or self.epsilon(asked.delta) <= asked.target_epsilon * (1 + _ROUNDING)


def mu_of(mode: Mode, noise_multiplier: float) -> float:
    """What one release costs: by how much a site can change it, in clip norms, over its noise."""
    return _CHANGE[mode] / noise_multiplier


def noise_multiplier(asked: Privacy, account: Account, rounds: int) -> float | None:
    """The one of the next release: as it is asked for, or so that as many more rounds spend the target; None: nothing is left.

    Of rounds that are all alike it is the same in each: sqrt(rounds) / mu of the target, with mode Local twice that.
    """
    found = calibrated(asked, account.squares, _CHANGE[asked.mode] ** 2 * max(1, rounds))
    if found is None or not account.charged(found, mu_of(asked.mode, found)).within(asked):
        return None
    return found


def calibrated(asked: Privacy, spent: float, sensitivity_squared: float) -> float | None:
    """The noise, as it is asked for, or so that releases of that sensitivity spend the rest of the target; None: there is no rest."""
    if asked.noise_multiplier is not None:
        return asked.noise_multiplier
    if asked.target_epsilon is None:
        raise ValueError("privacy needs noise_multiplier or target_epsilon")
    budget = gaussian.mu_of(asked.target_epsilon, asked.delta) ** 2
    left = budget - spent
    return None if left <= budget * _REST else _rounded_up(math.sqrt(sensitivity_squared / left))


def _rounded_up(value: float) -> float:
    """To 9 digits, so that rounds that are all alike have the same number, and the last of them is still afforded."""
    scale = 10.0 ** (8 - math.floor(math.log10(value)))
    return math.ceil(value * scale) / scale
