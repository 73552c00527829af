"""What the site's own noise must be, and how much the site tells in all: stands between an order and the training. Called by work.py.

The hub says in the order how much noise it wants. The site's own demand (spec.requires.privacy of its FLClient) is held here, against
a record that is the site's own: whoever gives the orders may ask again and again, and gets no more than was agreed to.
"""

from functools import partial
from pathlib import Path

from fedapi.wire.orders import TrainOrder
from fedapi.wire.privacy import SiteNoise
from fedapi.wire.update import UPDATE, payloads
from fedtrainer.errors import NotPrivateError
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.releases import Context, Protection, Releases
from fedtrainer.training.state_files import Committed

_DEMAND = "spec.requires.privacy"


class Protecting:
    """Of one site in one job. `folder`: of the site's state."""

    def __init__(self, settings: TrainerSettings, folder: Path) -> None:
        self._settings, self._demand, self._folder = settings, settings.requires_privacy, folder
        self._found: Releases | None = None

    def protection(self, order: TrainOrder, committed: Committed | None = None) -> Protection | None:
        """What is done to the update of an order. NotPrivateError where that is less than the site demands, or more than is left.

        `committed`: the site's update that the hub has committed last. SiteStateError where the account lacks it.
        """
        noise, demand = order.site_noise, self._demand
        if noise is None:
            if demand is not None:
                text = "the order asks for an update without noise of the site"
                raise NotPrivateError(f"{_DEMAND}: {text}: set privacy.differentialPrivacy.mode: Local in the job")
            return None
        if beside := payloads(order.training) - {UPDATE}:
            text = f"the order asks for {', '.join(sorted(beside))} beside the update, which no noise would hide"
            raise NotPrivateError(f"privacy.differentialPrivacy.mode Local: {text}: choose another strategy")
        least = demand.min_noise_multiplier if demand else None
        if least is not None and noise.noise_multiplier < least:
            text = f"the order asks for noiseMultiplier {noise.noise_multiplier:g}, the site demands at least {least:g}"
            raise NotPrivateError(f"{_DEMAND}.minNoiseMultiplier: {text}: raise it in the job")
        if demand is not None and demand.max_epsilon is not None and committed is not None:
            self._releases.check(committed)
        context = Context(
            job_uid=self._settings.job_uid,
            client=self._settings.client,
            round=order.round,
            base_sha256=order.base_sha256,
        )
        if not self._releases.has(context, noise):  # else it may be that one, which tells nothing new
            self._allow(noise)
        return Protection(noise, partial(self._key, context, noise))

    def _key(self, context: Context, noise: SiteNoise, update_sha256: bytes) -> bytes:
        return self._releases.key(context, noise, update_sha256, partial(self._allow, noise))

    def _allow(self, noise: SiteNoise) -> None:
        """NotPrivateError where one more update would tell more than the site allows."""
        demand = self._demand
        if demand is None or demand.max_epsilon is None or demand.delta is None:
            return
        after = self._releases.epsilon(demand.delta, noise)
        if after > demand.max_epsilon:
            text = f"{len(self._releases)} updates of this job were sent, and one more would make epsilon {after:.4g}"
            raise NotPrivateError(
                f"{_DEMAND}.maxEpsilon {demand.max_epsilon:g} (of this site, delta {demand.delta:g}): {text}: the site sends no more"
            )

    @property
    def _releases(self) -> Releases:
        if self._found is None:
            self._found = Releases(self._folder)
        return self._found
