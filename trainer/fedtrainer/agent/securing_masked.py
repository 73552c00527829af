"""A site's exchange where updates are summed under masks (fedcore.secagg.site), with its files. Made by securing.py."""

from fedapi.wire.secagg import Advertisement, Consent, SurvivorSet, Terms
from fedapi.wire.secureround import SecureAnswer
from fedcore.secagg import site
from fedcore.secagg.site import SiteState
from fedtrainer.agent.securing_exchange import Opened, Said, Sign, SumFile, brought
from fedtrainer.agent.securing_state import SecureFiles, check_terms
from fedtrainer.agent.securing_vector import Contribution


class MaskedExchange:
    """One attempt's. The masked update need not be durable: made anew it is the same to the byte."""

    def __init__(self, files: SecureFiles, contribution: Contribution) -> None:
        self._files, self._contribution = files, contribution
        self._state: SiteState

    def resumed(self) -> bool:
        """Whether an earlier process has begun it for the same terms."""
        if (kept := self._files.kept(SiteState)) is None:
            return False
        check_terms(kept.terms, self._terms)
        self._state = kept
        return True

    def begin(self, state: SiteState) -> None:
        """With a new seed."""
        self._keep(state)

    def advertise(self, sign: Sign) -> Advertisement:
        """Public keys, of the seed."""
        return site.advertise(self._state, sign)

    def share(self, answer: SecureAnswer) -> Said:
        """Shares of the seed and of the mask key, for neighbours."""
        participants = brought(answer.participants, "participants")
        self._contribution.check(participants)
        state, shares = site.share(self._state, participants)
        self._keep(state)
        return {"shares": shares}

    def vector(self, answer: SecureAnswer) -> SumFile:
        """The masked update."""
        delivery = brought(answer.delivery, "delivery")
        participants = brought(self._state.participants, "participants")
        masked = self._contribution.encoded(participants, site.noise_key(self._state))
        state = site.mask(self._state, delivery, masked)
        self._files.write(self._files.masked, masked.data)
        self._keep(state)
        return SumFile(self._files.masked, brought(state.masked_sha256, "masked update"), masked.nbytes)

    def void(self) -> None:
        """Made anew it is right."""
        self._files.masked.unlink(missing_ok=True)

    def consent(self, survivors: SurvivorSet, sign: Sign) -> Consent:
        """To the survivors."""
        state, said = site.consent(self._state, survivors, sign)
        self._keep(state)
        return said

    def open_(self, answer: SecureAnswer) -> Opened:
        """Shares that take the masks off the sum."""
        return Opened({"opening": site.open_(self._state, brought(answer.request, "request"))})

    def over(self) -> None:
        """The state stays until another order comes: a hub that was killed may ask for shares again."""
        self.void()

    @property
    def _terms(self) -> Terms:
        return self._contribution.values.order.terms

    def _keep(self, state: SiteState) -> None:
        self._files.keep(state)
        self._state = state
