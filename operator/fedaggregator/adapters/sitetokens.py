"""Authenticator by bearer token: each site's token derives from the job's key, so there is no list to keep."""

import hmac
from collections.abc import Mapping

from fedapi.wire.tokens import site_token


class SiteTokens:
    """Compares in constant time."""

    def __init__(self, job_key: bytes) -> None:
        self._job_key = job_key

    def proves(self, client: str, headers: Mapping[str, str]) -> bool:
        """Whether the Authorization header holds that site's token."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        expected = site_token(self._job_key, client)
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected.encode())
