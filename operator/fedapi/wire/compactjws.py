"""The content of a signed compact JWS (RFC 7515), by one known public key. Pure; used by appraisal.py.

The key decides which algorithms there are, never the token: there is no `none`, no secret, no key and no URL of a key from a
header. Critical extensions are refused. What is in the content is for the caller to judge.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

_SHA: Mapping[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES = {"secp256r1": "256", "secp384r1": "384", "secp521r1": "512"}  # RFC 7518, section 3.4


class UnsignedError(ValueError):
    """The token is not signed by that key, or is none."""


def content(token: bytes, public_key: str) -> Mapping[str, Any]:
    """The JSON object that the key's holder signed; UnsignedError otherwise."""
    try:
        key = serialization.load_pem_public_key(public_key.encode())
    except (ValueError, TypeError) as error:
        raise UnsignedError(f"publicKey is no PEM of a public key: {error}") from error
    parts = token.strip().split(b".")
    if len(parts) != 3:
        raise UnsignedError("it is no JWS: three parts are needed")
    head = _object(_decoded(parts[0]))
    if "crit" in head:
        raise UnsignedError("its header has critical extensions")
    _verify(key, str(head.get("alg")), b".".join(parts[:2]), _decoded(parts[2]))
    return _object(_decoded(parts[1]))


def _verify(key: object, algorithm: str, signed: bytes, signature: bytes) -> None:
    try:
        match key:
            case ec.EllipticCurvePublicKey() if algorithm == f"ES{_CURVES.get(key.curve.name)}":
                key.verify(_der(signature, key.key_size), signed, ec.ECDSA(_SHA[algorithm[2:]]))
            case ed25519.Ed25519PublicKey() if algorithm in ("EdDSA", "Ed25519"):
                key.verify(signature, signed)
            case rsa.RSAPublicKey() if algorithm[:2] in ("RS", "PS") and algorithm[2:] in _SHA and key.key_size >= 2048:
                digest = _SHA[algorithm[2:]]
                probabilistic = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
                key.verify(signature, signed, padding.PKCS1v15() if algorithm[0] == "R" else probabilistic, digest)
            case _:
                raise UnsignedError(f"its alg {algorithm[:16]!r} is none of the key's")
    except InvalidSignature as error:
        raise UnsignedError("its signature is not the key's") from error


def _der(signature: bytes, key_bits: int) -> bytes:
    """As the library takes it, of r and s in a row."""
    size = (key_bits + 7) // 8
    if len(signature) != 2 * size:
        raise UnsignedError(f"its signature has {len(signature)} bytes, not {2 * size}")
    return utils.encode_dss_signature(int.from_bytes(signature[:size]), int.from_bytes(signature[size:]))


def _decoded(part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise UnsignedError("a part of it is not base64url") from error


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnsignedError("a part of it is not JSON") from error
    if not isinstance(found, dict):
        raise UnsignedError("a part of it is no JSON object")
    return found
