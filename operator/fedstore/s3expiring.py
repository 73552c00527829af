"""PutObject by a URL that expires: how a write is bound to a time where it cannot be bound to a condition. Used by s3.py.

The signature of an ordinary request is good for a quarter of an hour. That of a URL is good for as long as it says, and
the store itself refuses it afterwards, whatever stopped its sender meanwhile. The store's clock decides, so it is compared.
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies

from fedstore.errors import StoreFailedError
from fedstore.fencing import WRITE_S

APART_S = 5.0  # that the two clocks may be: less than a fence's margin (fedaggregator.lease)
_CONNECT_S, _CONNECTIONS = 5.0, 16
_KMS = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
}


class ExpiringPuts:
    """Sends what a URL was signed for, once: who wants it again signs again."""

    def __init__(self, ca_file: str | None) -> None:
        self._verify = ca_file or True
        self._session: URLLib3Session | None = None

    def put(self, url: str, body: bytes | bytearray, asked: dict[str, Any]) -> str:
        """The new ETag. The SDK's errors. `asked`: what was signed beside the object's place."""
        if self._session is None:
            proxies, timeout = get_environ_proxies(url), (_CONNECT_S, WRITE_S)
            self._session = URLLib3Session(self._verify, proxies, timeout, _CONNECTIONS)
        headers = {"x-amz-checksum-sha256": asked["ChecksumSHA256"]}
        headers |= {f"x-amz-meta-{name}": value for name, value in asked["Metadata"].items()}
        headers |= {header: asked[name] for name, header in _KMS.items() if name in asked}
        answer = self._session.send(AWSRequest("PUT", url, headers, body).prepare())
        if answer.status_code >= 300:
            raise _refusal(answer.status_code, answer.content)
        return str(answer.headers["ETag"])


def _refusal(status: int, body: bytes) -> ClientError:
    """As the SDK makes it of an answer."""
    text = body.decode(errors="replace")
    told = {name: found[1] if (found := re.search(f"<{name}>([^<]*)<", text)) else "" for name in ("Code", "Message")}
    response = {"Error": {**told, "Code": told["Code"] or str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "PutObject")


@dataclass
class Clocks:
    """How far this machine's clock is from the store's, as its last answer told: to a second."""

    ahead_s: float = 0.0
    behind_s: float = 0.0

    def note(self, sent: float, received: float, date: str) -> None:
        """An answer and its Date. Both moments are by this machine's clock."""
        with suppress(ValueError):  # it says none
            told = parsedate_to_datetime(date).timestamp()
            self.ahead_s, self.behind_s = sent - (told + 1), told - received

    def require_agreement(self) -> None:
        """StoreFailedError when a URL would be good for much longer, or shorter, than it says."""
        apart = max(self.ahead_s, self.behind_s)
        if apart > APART_S:
            text = (
                f"this machine's clock and the store's are {apart:.0f} s apart, and at most {APART_S:.0f} s are allowed"
            )
            raise StoreFailedError(f"{text} where a Lease takes the place of conditional writes: set both by NTP")
