"""Keys and tokens that operator, aggregator and sites derive alike."""

import hashlib
import hmac

from fedapi.wire.tokens import hkdf, job_key, site_token


def test_hkdf_equals_rfc_5869_case_3():
    """Test case 3 of RFC 5869: empty salt and info."""
    assert hkdf(bytes([0x0B] * 22), b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


def test_tokens_differ_by_job_and_site():
    key = job_key(b"m" * 32, "uid-1")
    assert site_token(key, "a") == hmac.digest(key, b"site\0a", hashlib.sha256).hex()
    assert len({site_token(key, "a"), site_token(key, "b"), site_token(job_key(b"m" * 32, "uid-2"), "a")}) == 3
