"""The agent of a confidential guest, which gives evidence: HTTP at the pod's own address, or over a socket of the guest.

As Confidential Containers' guest components speak it: `GET …?runtime_data=TEXT`, answered by the evidence itself. What the agent
says is believed by nobody before a verifier has appraised it. Blocking.
"""

import http.client
import socket
from urllib.parse import quote, urlsplit

from fedaggregator.errors import EvidenceUnavailableError
from fedapi.wire.message import MAX_INLINE_BYTES

_ANSWER_S = 30.0  # a report of firmware takes less than a second; a quote may wait for a service of the platform
_PATH = "/aa/evidence"  # over a socket


class _OverSocket(http.client.HTTPConnection):
    """HTTP to a socket of the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        """As the base class says."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class GuestAgent:
    """One agent."""

    def __init__(self, address: str) -> None:
        self.address = address

    def evidence(self, report_data: bytes) -> bytes:
        """Evidence that is bound to these bytes; EvidenceUnavailableError says what is wrong."""
        connection, path = self._connection()
        try:
            connection.request("GET", f"{path}?runtime_data={quote(report_data)}")
            answer = connection.getresponse()
            evidence = answer.read(MAX_INLINE_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise self._unavailable(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise self._unavailable(f"HTTP {answer.status} {evidence[:200].decode(errors='replace')}")
        if not evidence or len(evidence) > MAX_INLINE_BYTES:
            raise self._unavailable(f"it answers {len(evidence)} bytes, from 1 to {MAX_INLINE_BYTES} were expected")
        return evidence

    def _connection(self) -> tuple[http.client.HTTPConnection, str]:
        if self.address.startswith("unix:"):
            return _OverSocket(self.address.removeprefix("unix:")), _PATH
        parts = urlsplit(self.address)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ANSWER_S), parts.path or "/"

    def _unavailable(self, what: str) -> EvidenceUnavailableError:
        way_out = "look at aggregator.confidential, agent and platform, and at the runtime class of the pod"
        return EvidenceUnavailableError(f"the guest's agent at {self.address} gives no evidence: {what}: {way_out}")
