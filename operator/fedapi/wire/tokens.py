"""How a job's secrets derive from one another, so that nobody keeps a list. Pure.

Used by the operator's and the embedded runner's credential shells and by the aggregator.
HKDF is RFC 5869 with SHA-256 and an empty salt.
"""

import hashlib
import hmac


def hkdf(key: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869): `length` bytes (≤ 8160) bound to `info`."""
    prk = hmac.digest(bytes(32), key, hashlib.sha256)
    out, block = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(prk, block + info + bytes([counter]), hashlib.sha256)
        out += block
    return out[:length]


def job_key(master: bytes, job_uid: str) -> bytes:
    """The 32-byte key of one job, from the operator's master key."""
    return hkdf(master, b"fedloom job\0" + job_uid.encode())


def site_token(job_key_: bytes, client: str) -> str:
    """A site's bearer token for one job, hex."""
    return hmac.digest(job_key_, b"site\0" + client.encode(), hashlib.sha256).hex()


def init_token(job_key_: bytes) -> str:
    """The bearer token of a job's init step, hex."""
    return hmac.digest(job_key_, b"init", hashlib.sha256).hex()


def blob_key(job_key_: bytes) -> bytes:
    """The key that signs blob URLs of one job's aggregator."""
    return hkdf(job_key_, b"fedloom blob urls")


def backup_seed(job_key_: bytes) -> bytes:
    """The Ed25519 private key, 32 bytes, that signs one job's backups."""
    return hkdf(job_key_, b"fedloom backup signature")


def ledger_seed(job_key_: bytes) -> bytes:
    """The Ed25519 private key, 32 bytes, that signs one job's ledger."""
    return hkdf(job_key_, b"fedloom ledger signature")


def noise_key(job_key_: bytes, drawn_for: bytes) -> bytes:
    """The 32-byte key of the noise of one sum; `drawn_for` names the sum, so that no other has the same noise."""
    return hkdf(job_key_, b"fedloom noise\0" + drawn_for)


def registry_key(master: bytes) -> bytes:
    """The 32-byte key of the registry, from the operator's master key."""
    return hkdf(master, b"fedloom registry")


def heartbeat_token(registry_key_: bytes, client_id: str, generation: int = 0) -> str:
    """A site's bearer token for the registry, hex. With the next generation the token before is void."""
    return hmac.digest(registry_key_, f"heartbeat\0{client_id}\0{generation}".encode(), hashlib.sha256).hex()


def reader_token(registry_key_: bytes) -> str:
    """The bearer token of who reads all sites, hex."""
    return hmac.digest(registry_key_, b"sites", hashlib.sha256).hex()
