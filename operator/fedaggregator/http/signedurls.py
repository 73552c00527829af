"""Expiring blob URLs: HMAC-SHA256 over method, key, size, digest, holder and expiry. Pure: the clock is passed in.

Used by delivery.py (to sign) and by the blob routes (to check). URLs are authorizations: they are never logged.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote, urlencode

from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import Holder
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal

BLOBS = "/v1/blobs"
Method = Literal["GET", "PUT"]


@dataclass(frozen=True)
class UrlSigner:
    """Signs and checks the URLs of one job."""

    key: bytes = field(repr=False)
    public_url: str
    lifetime_s: float

    def signed(self, method: Method, blob: ObjectRef, now: float, holder: Holder) -> tuple[str, float]:
        """The URL, and when it expires."""
        expires = int(now + self.lifetime_s)
        query = {"size": blob.size, "sha256": blob.sha256, "expires": expires, "holder": holder.text()}
        query["signature"] = self._signature(method, blob, expires, holder.text())
        return f"{self.public_url.rstrip('/')}{BLOBS}/{quote(blob.key)}?{urlencode(query)}", float(expires)

    def checked(self, method: str, key: str, query: Mapping[str, str], now: float) -> ObjectRef:
        """The blob that a URL is for; RequestRefusedError when it is forged or expired."""
        try:
            blob = ObjectRef(key=key, sha256=query["sha256"], size=int(query["size"]))
            expires, holder = int(query["expires"]), query["holder"]
        except (KeyError, ValueError) as error:
            raise _refused("Unauthorized", "the URL is not one that this aggregator signed") from error
        if not hmac.compare_digest(
            self._signature(method, blob, expires, holder).encode(), query.get("signature", "").encode()
        ):
            raise _refused("Unauthorized", "the URL is not one that this aggregator signed")
        if now > expires:
            raise _refused("Expired", "the URL has expired: ask for a new one")
        return blob

    def _signature(self, method: str, blob: ObjectRef, expires: int, holder: str) -> str:
        text = "\n".join((method, blob.key, str(blob.size), blob.sha256, str(expires), holder))
        return hmac.digest(self.key, text.encode(), hashlib.sha256).hex()


def _refused(code: Literal["Unauthorized", "Expired"], message: str) -> RequestRefusedError:
    return RequestRefusedError(Refusal(code=code, message=message))
