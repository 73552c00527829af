"""One training by DP-SGD: what it may spend, with which noise, and that the site's account has it before its update leaves.

Made by session.py for a training that is asked for it, at every rank; `ctx.private` for loop.py. Rank 0 has the account and decides.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import replace

import torch

from fedapi import decimals
from fedapi.wire.privacy import DPSGD, RecordPrivacy
from fedtrainer.errors import BadSettingsError, BudgetSpentError, SiteStateError, TaskInvalidError, TrainerError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training.dpsgd import accountant, models, randomness
from fedtrainer.training.dpsgd.account import Account
from fedtrainer.training.dpsgd.accountant import Release
from fedtrainer.training.state_files import OrderState

log = logging.getLogger(__name__)

_ROUNDING = 1e-9  # of a budget
_ERRORS: dict[str, type[TrainerError]] = {each.__name__: each for each in (BudgetSpentError, SiteStateError)}


class PrivateTraining:
    """Of one round."""

    def __init__(self, asked: DPSGD, ring: Ring, round_: int, order: OrderState | None) -> None:
        if ring.multiple > 1 or ring.device.startswith("xla"):
            raise BadSettingsError(
                "privacy.dpSGD is not for TPU, whose hosts compute one batch together: take CPU or GPU pools, or remove dpSGD"
            )
        self.asked = asked
        self._ring, self._round, self._order = ring, round_, order
        self._account: Account | None = None
        self._release: Release | None = None

    @property
    def release(self) -> Release:
        """What this training tells; once it has begun."""
        if self._release is None:
            raise AssertionError("PrivateTraining.release before begin")
        return self._release

    def begin(self, model: torch.nn.Module, samples: int, batch: int, steps: int) -> None:
        """Before the first step, at every rank. BudgetSpentError when the site has told enough."""
        if self._release is not None:
            raise TaskInvalidError(
                "privacy.dpSGD: the task trains twice in one round, which tells twice as much as is accounted for: train once"
            )
        models.check(model)
        rate = min(1.0, batch / samples)
        said: dict[str, str | float] = {}
        if self._ring.rank == 0:
            try:
                said["noise"] = self._noise_multiplier(rate, steps)
            except (BudgetSpentError, SiteStateError) as error:
                said = {"error": type(error).__name__, "text": str(error)}
        told = json.loads(operations.broadcast_text(self._ring, json.dumps(said)))
        if "error" in told:
            raise _ERRORS[told["error"]](told["text"])
        self._release = Release(told["noise"], rate, steps)

    def go_on(self, before: Release) -> None:
        """From a checkpoint: where the data or the noise was another then, all of both trainings is charged for, at the dearer."""
        now = self.release
        if before != now:
            self._release = Release(
                min(before.noise_multiplier, now.noise_multiplier),
                max(before.sample_rate, now.sample_rate),
                before.steps + now.steps,
            )

    def drawn(self, samples: int) -> torch.Tensor:
        """The positions of a step's records, the same at every rank; maybe none."""
        if self._ring.size == 1:
            return randomness.drawn(samples, self.release.sample_rate)
        chosen = torch.zeros(samples, dtype=torch.uint8)
        if self._ring.rank == 0:
            chosen[randomness.drawn(samples, self.release.sample_rate)] = 1
        self._ring.broadcast(chosen)
        return chosen.nonzero().flatten()

    def check(
        self,
        samples: int,
        steps: int | None,
        model: torch.nn.Module,
        entries: Mapping[str, str],
        base: Mapping[str, torch.Tensor],
    ) -> None:
        """TaskInvalidError when a training that returns these numbers was not made by it, or has changed what is no parameter.

        `entries`: names of the model's state that are parameters; `base`: its values before.
        """
        if self._release is None and samples == 0:
            return
        if self._release is None or (steps is not None and steps > self._release.steps):
            raise TaskInvalidError(
                "privacy.dpSGD: train() of the task's own has made steps without it: leave training to the default (model(), data() "
                "and loss() are enough), or make the job anew without privacy.dpSGD"
            )
        now = model.state_dict()
        models.check_buffers({name: now[name] for name in now.keys() - entries.keys()}, base)

    def charged(self, sha256: str) -> RecordPrivacy | None:
        """Charges for an update of this training, which must not leave before; what all have told. None: not rank 0."""
        if self._ring.rank != 0:
            return None
        account, update = self._opened(), self._order.update if self._order else None
        nothing = Release(1.0, 1.0, 0)  # of a site without training data, whose update may be committed all the same
        account.charge(update or (self._round, 1), sha256, self._release or nothing)
        spent = accountant.epsilon(account.releases, self.asked.delta)
        log.info(
            "privacy: epsilon %.4f of one record at delta %s, this update included",
            spent,
            decimals.short(self.asked.delta),
        )
        return RecordPrivacy(epsilon=spent, delta=self.asked.delta)

    def _opened(self) -> Account:
        if self._account is None:
            self._account = Account(None if self._order is None else self._order.files.folder)
            if self._order is not None:
                self._account.check(self._order.committed, self._order.accepted)
        return self._account

    def _noise_multiplier(self, rate: float, steps: int) -> float:
        asked, spent = self.asked, self._opened().releases
        target = asked.target_epsilon
        if asked.noise_multiplier is not None:
            after = (*spent, Release(asked.noise_multiplier, rate, steps))
            if target is not None and accountant.epsilon(after, asked.delta) > target * (1 + _ROUNDING):
                raise self._over("one more round would pass")
            return asked.noise_multiplier
        if target is None:
            raise AssertionError("privacy.dpSGD needs noiseMultiplier or targetEpsilon")
        left = Release(1.0, rate, steps * max(1, asked.rounds - self._round + 1))
        if (
            spent
            and accountant.epsilon((*spent, replace(left, noise_multiplier=spent[-1].noise_multiplier)), asked.delta)
            <= target
        ):
            return spent[-1].noise_multiplier
        found = accountant.noise_multiplier(spent, rate, left.steps, target, asked.delta)
        if found is None:
            raise self._over("whatever the noise, the rounds that are left would pass")
        log.info("privacy: noise multiplier %g for %d steps with sampling rate %g", found, left.steps, rate)
        return found

    def _over(self, what: str) -> BudgetSpentError:
        spent = accountant.epsilon(self._opened().releases, self.asked.delta)
        return BudgetSpentError(
            f"this site's updates have spent epsilon {spent:.6g} (of one record, delta {decimals.short(self.asked.delta)}), and {what} "
            f"privacy.dpSGD.targetEpsilon {self.asked.target_epsilon:g}: for more rounds raise it"
        )
