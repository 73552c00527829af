"""What must hide an update, and how much the site tells in all: stands between an order and the training, and between it and the hub.

Called by work.py and securing.py. The hub says in the order whether updates are masked or encrypted, and how much noise it wants. The site's own demand (spec.requires.privacy of its FLClient) is held here, against
a record that is the site's own: whoever gives the orders may ask again and again, and gets no more than was agreed to.
"""

from functools import partial
from pathlib import Path

from fedapi import decimals
from fedapi.wire.orders import TrainOrder
from fedapi.wire.privacy import Mechanism, PrivacyDemand, SiteNoise
from fedapi.wire.secureround import SecureOrder
from fedapi.wire.update import UPDATE, payloads
from fedtrainer.errors import NotPrivateError
from fedtrainer.settings import TrainerSettings
from fedtrainer.training.releases import Context, MaskedRelease, Protection, Releases
from fedtrainer.training.state_files import Committed, Update

_DEMAND = "spec.requires.privacy"


class Protecting:
    """Of one site in one job. `folder`: of the site's state."""

    def __init__(self, settings: TrainerSettings, folder: Path) -> None:
        self._settings, self._demand, self._folder = settings, settings.requires_privacy, folder
        self._found: Releases | None = None

    def check(self, order: TrainOrder, committed: Committed | None = None, accepted: Update | None = None) -> None:
        """NotPrivateError where what an order asks for is hidden less than the site demands, or would tell more than is left.

        Also of an update that an earlier process has trained, whose site may have demanded less. `committed`: the site's update that
        the hub has committed last; `accepted`: one since then that is in no commit. SiteStateError where what was told is not known wholly.
        """
        demand = self._demand
        if demand is None:
            return
        if demand.secure_aggregation:
            _check_masked(order)
        if not demand.asks_for_noise:
            return
        _check_least(demand, _asked(order, demand))
        if demand.max_epsilon is not None:
            self._releases.check(committed, accepted)
        if order.secure is not None:
            self._allow_masked(order, order.secure)

    def masked(self, order: TrainOrder, secure: SecureOrder) -> None:
        """An update is about to be handed in masked or encrypted, and may be opened in a sum: counted before. NotPrivateError where it is too much."""
        if (release := self._allow_masked(order, secure)) is not None:
            self._releases.mask(release)

    def protection(self, order: TrainOrder) -> Protection | None:
        """What is done to the update of an order. NotPrivateError as of `check`, or where it would tell more than is left."""
        self.check(order)
        noise = order.site_noise
        if noise is None:
            return None
        if beside := payloads(order.training) - {UPDATE}:
            text = f"the order asks for {', '.join(sorted(beside))} beside the update, which no noise would hide"
            raise NotPrivateError(f"privacy.differentialPrivacy.mode Local: {text}: choose another strategy")
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

    def _allow_masked(self, order: TrainOrder, secure: SecureOrder) -> MaskedRelease | None:
        """What the site counts of an attempt whose sum is opened; None: there is no noise, and it has demanded none."""
        if secure.privacy is None:
            return None
        release = MaskedRelease(
            round=order.round, attempt=order.attempt, base_sha256=order.base_sha256, rho=_rho(secure, secure.privacy)
        )
        if not self._releases.has_masked(release):
            self._allow(release)
        return release

    def _allow(self, noise: SiteNoise | MaskedRelease) -> None:
        """NotPrivateError where one more update would tell more than the site allows."""
        demand = self._demand
        if demand is None or demand.max_epsilon is None or demand.delta is None:
            return
        after = self._releases.epsilon(demand.delta, noise)
        if after > demand.max_epsilon:
            text = f"{len(self._releases)} updates of this job were sent, and one more would make epsilon {after:.4g}"
            raise NotPrivateError(
                f"{_DEMAND}.maxEpsilon {demand.max_epsilon:g} (of this site, delta {decimals.short(demand.delta)}): {text}: the site sends no more"
            )

    @property
    def _releases(self) -> Releases:
        if self._found is None:
            self._found = Releases(self._folder)
        return self._found


def _check_masked(order: TrainOrder) -> None:
    """NotPrivateError for an update that one site which works with the aggregator could read."""
    if order.secure is None:
        text = "the order asks for an update that the aggregator sees by itself"
    elif order.secure.terms.scheme is not None:
        text = "the order asks for an update encrypted with a key that every site has, so that any of them can read it with the aggregator's help"
    else:
        return
    raise NotPrivateError(f"{_DEMAND}.secureAggregation: {text}: set privacy.secureAggregation in the job")


def _asked(order: TrainOrder, demand: PrivacyDemand) -> float:
    """The noiseMultiplier of what a site demands: of the sum under masks, or of its own update."""
    if demand.secure_aggregation:
        if order.secure is None or order.secure.privacy is None:
            text = "the order asks for a sum without noise of the sites"
            raise NotPrivateError(f"{_DEMAND}: {text}: set privacy.differentialPrivacy.mode: Distributed in the job")
        return order.secure.privacy.noise_multiplier
    if order.site_noise is None:
        text, way_out = "the order asks for an update without noise of the site", "mode: Local in the job"
        if order.secure is not None and order.secure.privacy is not None and order.secure.terms.scheme is None:
            way_out = f"{way_out}, or, where noise of a sum is enough, {_DEMAND}.secureAggregation: true"
        raise NotPrivateError(f"{_DEMAND}: {text}: set privacy.differentialPrivacy.{way_out}")
    return order.site_noise.noise_multiplier


def _check_least(demand: PrivacyDemand, asked: float) -> None:
    least = demand.min_noise_multiplier
    if least is not None and asked < least:
        text = f"the order asks for noiseMultiplier {asked:g}, the site demands at least {least:g}"
        raise NotPrivateError(f"{_DEMAND}.minNoiseMultiplier: {text}: raise it in the job")


def _rho(secure: SecureOrder, noise: Mechanism) -> float:
    """What one opened sum tells: by the noise of this site and of the others that the threshold leaves honest."""
    from fedcore.privacy.distributed import concentrated, lattice  # noqa: PLC0415 - where updates are masked

    try:
        made = lattice.of(secure.terms, noise.clip_norm, noise.noise_multiplier)
    except ValueError as error:
        raise NotPrivateError(f"{_DEMAND}: the order's noise does not fit its sum: {error}") from error
    return concentrated.rho_of(made)
