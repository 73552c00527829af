"""How a site enrolls a key of its own: the one-time token that the hub gives it, and the request that it answers with. Pure but for entropy.

Two lines of text, carried by people: `fedloom site enroll` makes the first, `fedloom site join` the second, `fedloom site approve`
reads it. The token is the seed of an Ed25519 key, so the hub keeps its public half alone, and whoever reads that can ask for nothing.
A request is signed twice: by the site's key, which proves that the site has it, and by the token's, which proves who was asked.
It loads the `cryptography` package, so nothing beside it imports it.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

import rfc8785
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from fedapi.wire.signature import key_id
from fedapi.wire.signing import SigningKey, verifies

PURPOSE = "fedloom.dev/site-enrollment/v1"  # so that a signature of these keys for anything else is none of this
TOKEN, REQUEST = "fedloom-join-1", "fedloom-request-1"  # how the two lines begin, with their version
MAX_TEXT = 16384  # characters of either
MAX_AUTHORITIES = 4  # CA certificates that a token names: three while one CA replaces another
_SITE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DAMAGED = "it is damaged: copy the whole line"


class MalformedEnrollmentError(ValueError):
    """The text is no token, or no request; the message says why and shows nothing of it."""


@dataclass(frozen=True)
class JoinToken:
    """Who has it may ask once that a key becomes that site's. Its repr does not show the secret."""

    site: str  # NAMESPACE/NAME of the FLClient
    not_after: datetime
    authorities: bytes  # CA certificates of the hub, PEM: whom the site is to trust
    key: SigningKey = field(repr=False)

    @classmethod
    def made(cls, site: str, not_after: datetime, authorities: bytes) -> Self:
        """A new one. MalformedEnrollmentError when `authorities` are none."""
        fingerprints(authorities)
        return cls(site, not_after, authorities, SigningKey.generated())

    def text(self) -> str:
        """The line that the site gets. It is a secret until it was used."""
        said = {
            "site": self.site,
            "notAfter": self.not_after.isoformat(),
            "authorities": [
                base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in _read(self.authorities)
            ],
            "seed": base64.b64encode(self.key.seed()).decode(),
        }
        return f"{TOKEN}.{_coded(rfc8785.dumps(said))}"

    @classmethod
    def of_text(cls, text: str) -> Self:
        """The inverse; MalformedEnrollmentError."""
        (said,) = _parts(text, TOKEN, 1)
        facts = _facts(said, {"site": str, "notAfter": str, "authorities": list, "seed": str})
        try:
            certificates = [x509.load_der_x509_certificate(_plain64(each)) for each in facts["authorities"]]
            authorities = b"".join(each.public_bytes(Encoding.PEM) for each in certificates)
            not_after = datetime.fromisoformat(facts["notAfter"])
            key = SigningKey.of_seed(_plain64(facts["seed"]))
        except (ValueError, TypeError, x509.InvalidVersion) as error:
            raise MalformedEnrollmentError(_DAMAGED) from error
        if not_after.tzinfo is None or not _SITE.fullmatch(facts["site"]):
            raise MalformedEnrollmentError(_DAMAGED)
        fingerprints(authorities)
        return cls(facts["site"], not_after, authorities, key)

    def request(self, key: SigningKey) -> str:
        """The line that asks for this key of the site's."""
        said = {
            "purpose": PURPOSE,
            "site": self.site,
            "tokenKey": self.key.public_key,
            "publicKey": key.public_key,
            "authorities": fingerprints(self.authorities),
        }
        body = rfc8785.dumps(said)
        signatures = (base64.b64decode(each.signature(body)) for each in (key, self.key))
        return ".".join((REQUEST, _coded(body), *map(_coded, signatures)))


@dataclass(frozen=True)
class JoinRequest:
    """What a site asks for; both signatures hold."""

    site: str
    token_key: str  # public half of the token's key, base64
    public_key: str  # the same of the key that the site has made
    authorities: tuple[str, ...]  # SHA-256 of the CA certificates that the site trusts from now on

    @property
    def key_id(self) -> str:
        """Of the site's key."""
        return key_id(base64.b64decode(self.public_key))

    @classmethod
    def of_text(cls, text: str) -> Self:
        """MalformedEnrollmentError when it is none, or not signed by the two keys that it names."""
        body, *signatures = _parts(text, REQUEST, 3)
        facts = _facts(body, {"purpose": str, "site": str, "tokenKey": str, "publicKey": str, "authorities": list})
        if facts["purpose"] != PURPOSE:
            raise MalformedEnrollmentError("it is signed for another purpose")
        prints = tuple(facts["authorities"])
        if not all(isinstance(each, str) and _SHA256.fullmatch(each) for each in prints):
            raise MalformedEnrollmentError(_DAMAGED)
        for owner, signature in zip(("publicKey", "tokenKey"), signatures, strict=True):
            if not verifies(_plain64(facts[owner]), base64.b64encode(signature).decode(), body):
                raise MalformedEnrollmentError(f"it is not signed by the {owner} that it names")
        return cls(facts["site"], facts["tokenKey"], facts["publicKey"], prints)


def fingerprints(authorities: bytes) -> list[str]:
    """SHA-256 of each certificate of a PEM bundle, hexadecimal: what `openssl x509 -fingerprint -sha256` shows, without colons."""
    return sorted({each.fingerprint(SHA256()).hex() for each in _read(authorities)})


def _read(authorities: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(authorities)
    except ValueError as error:
        raise MalformedEnrollmentError("it holds no CA certificate in PEM") from error
    if len(found) > MAX_AUTHORITIES:
        raise MalformedEnrollmentError(
            f"it holds {len(found)} CA certificates, and at most {MAX_AUTHORITIES} are the hub's"
        )
    return found


def _parts(text: str, begin: str, count: int) -> list[bytes]:
    """What lies between the dots, decoded."""
    head, *parts = text.strip().split(".") if len(text) <= MAX_TEXT else [""]
    if head != begin:
        raise MalformedEnrollmentError(f"it does not begin with {begin}.")
    if len(parts) != count:
        raise MalformedEnrollmentError(_DAMAGED)
    return [_decoded(each) for each in parts]


def _facts(said: bytes, kinds: Mapping[str, type]) -> dict[str, Any]:
    """The members of a JSON object that has these and no others."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise MalformedEnrollmentError(_DAMAGED) from error
    if not isinstance(found, dict) or found.keys() != kinds.keys():
        raise MalformedEnrollmentError("it says other things than this version knows")
    if any(type(found[name]) is not kind for name, kind in kinds.items()) or not _bounded(found):
        raise MalformedEnrollmentError(_DAMAGED)
    return found


def _bounded(found: Mapping[str, Any]) -> bool:
    listed = found["authorities"]
    return 0 < len(listed) <= MAX_AUTHORITIES and all(type(each) is str for each in listed)


def _coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedEnrollmentError(_DAMAGED) from error
    if _coded(data) != text:
        raise MalformedEnrollmentError(_DAMAGED)
    return data


def _plain64(text: str) -> bytes:
    """Of standard base64 in the one spelling that it has; MalformedEnrollmentError."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedEnrollmentError(_DAMAGED) from error
    if base64.b64encode(data).decode() != text:
        raise MalformedEnrollmentError(_DAMAGED)
    return data
