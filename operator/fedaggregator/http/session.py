"""What OpenSSL keeps for a connection, on the server's side, over memory: the bytes are moved by whoever holds it.

Used by tls.py, and by bulk.py while a large body passes.
"""

import ssl
from typing import Any, NamedTuple

from fedaggregator.ports import ClientCertificate

RECORD_BYTES = 16 << 10  # a TLS record's largest content


class Session(NamedTuple):
    """Dropped as a whole when nothing is encrypted or decrypted any more."""

    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO

    @classmethod
    def of(cls, context: ssl.SSLContext) -> "Session":
        """A fresh one."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(context.wrap_bio(incoming, outgoing, server_side=True), incoming, outgoing)

    def certificate(self) -> ClientCertificate | None:
        """What the client showed in the handshake."""
        told: Any = self.tls.getpeercert()
        if not told:
            return None
        named = tuple(value for kind, value in told.get("subjectAltName", ()) if kind == "URI")
        return ClientCertificate(named, ssl.cert_time_to_seconds(told["notAfter"]))

    def encrypt(self, data: bytes | bytearray | memoryview) -> None:
        """Into `outgoing`, all of it; ssl.SSLError when the peer said goodbye, or broke the protocol."""
        with memoryview(data) as view:
            done = 0
            while done < view.nbytes:
                done += self.tls.write(view[done:])
