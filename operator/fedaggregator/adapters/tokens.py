"""Identity by bearer token: each site's token derives from the job's key, so there is no list to keep."""

import hmac

from fedaggregator.ports import Holder, Shown
from fedapi.wire.tokens import init_token, site_token

_LONGEST_NAME = 63  # of a site, as far as a refusal repeats it


class Tokens:
    """Compares in constant time."""

    def __init__(self, job_key: bytes) -> None:
        self._job_key = job_key

    def doubt(self, client: str, shown: Shown) -> str:
        """Whether the Authorization header holds that site's token."""
        held = _holds(shown, site_token(self._job_key, client))
        return "" if held else f"the token is not that of site {client[:_LONGEST_NAME]!r}"

    def init_doubt(self, shown: Shown) -> str:
        """Whether it holds the init step's."""
        return "" if _holds(shown, init_token(self._job_key)) else "the token is not that of the init step"

    def url_doubt(self, holder: Holder, shown: Shown) -> str:  # noqa: ARG002 - the port's signature
        """None: its signature is proof enough."""
        return ""


def _holds(shown: Shown, expected: str) -> bool:
    scheme, _, token = shown.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected.encode())
