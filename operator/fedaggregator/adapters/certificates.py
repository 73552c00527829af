"""Identity by token and by the certificate of the connection: both must be of one site. Used by __main__.

What does not verify (another CA, another purpose, not yet or no longer valid) is refused in the handshake already. A connection may
outlive its certificate, so the end is looked at with each request: whoever was given a new one comes with it.
"""

from collections.abc import Callable

from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import INITIALIZER, Clock, Holder, Identity, Shown
from fedapi.wire import subjects
from fedapi.wire.site import Refusal

_SKEW_S = 300.0  # that clocks may differ
_NONE = (
    "clients.certificates is Required, and the connection shows no certificate: the site needs tls.crt and tls.key of its "
    "Secret, and a trainer of this version"
)


class Certified:
    """What another identity says, and the certificate."""

    def __init__(self, inner: Identity, job_uid: str, required: Callable[[], bool], clock: Clock) -> None:
        self._inner, self._uid, self._required, self._clock = inner, job_uid, required, clock

    def doubt(self, client: str, shown: Shown) -> str:
        """Whether all is that site's. RequestRefusedError for a certificate that has ended: it may come again."""
        return self._inner.doubt(client, shown) or self._certificate_doubt(subjects.site(self._uid, client), shown)

    def init_doubt(self, shown: Shown) -> str:
        """The same of the init step."""
        return self._inner.init_doubt(shown) or self._certificate_doubt(subjects.init(self._uid), shown)

    def url_doubt(self, holder: Holder, shown: Shown) -> str:
        """Whether who fetches or sends by a URL is whom it was made for."""
        subject = subjects.init(self._uid) if holder == INITIALIZER else subjects.site(self._uid, holder.client)
        return self._inner.url_doubt(holder, shown) or self._certificate_doubt(subject, shown)

    def _certificate_doubt(self, subject: str, shown: Shown) -> str:
        certificate = shown.certificate
        if certificate is None:
            return _NONE if self._required() else ""
        if subject not in certificate.subjects:
            return f"the certificate is not of {subject}, but of {', '.join(certificate.subjects) or 'nobody'}"[:300]
        if certificate.ends + _SKEW_S < self._clock():
            message = (
                "the certificate of this connection has ended: connect anew, with the one that the operator renewed"
            )
            raise RequestRefusedError(Refusal(code="Busy", message=message))
        return ""
