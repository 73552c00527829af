"""Signed URLs."""

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.ports import Holder
from fedapi.wire.message import ObjectRef

BLOB = ObjectRef(key="updates/ns/job-uid/site a/x.safetensors", sha256="a" * 64, size=5)
SIGNER = UrlSigner(b"k" * 32, "https://hub:8443/", 60.0)


def parts(url: str) -> tuple[str, dict[str, str]]:
    from urllib.parse import parse_qsl, unquote, urlsplit

    split = urlsplit(url)
    return unquote(split.path.removeprefix("/v1/blobs/")), dict(parse_qsl(split.query))


def test_a_signed_url_is_good_for_exactly_one_thing():
    url, expires_at = SIGNER.signed("PUT", BLOB, 1000.0, Holder("a", 1, 1))
    key, query = parts(url)
    assert url.startswith("https://hub:8443/v1/blobs/updates/")
    assert expires_at == 1060.0
    assert SIGNER.checked("PUT", key, query, 1060.0) == BLOB
    forged = [
        ("GET", key, query),
        ("PUT", key + "x", query),
        *(
            ("PUT", key, query | {name: value})
            for name, value in [("size", "6"), ("sha256", "b" * 64), ("expires", "9999"), ("holder", "b/1/1")]
        ),
        ("PUT", key, query | {"signature": "0" * 64}),
        ("PUT", key, query | {"signature": "é"}),
        ("PUT", key, query | {"size": "x"}),
        *(("PUT", key, {k: v for k, v in query.items() if k != name}) for name in query),
    ]
    for method, path, changed in forged:
        with pytest.raises(RequestRefusedError) as error:
            SIGNER.checked(method, path, changed, 1000.0)
        assert error.value.refusal.code == "Unauthorized"
    with pytest.raises(RequestRefusedError) as error:
        SIGNER.checked("PUT", key, query, 1061.0)
    assert error.value.refusal.code == "Expired"
    with pytest.raises(RequestRefusedError):
        UrlSigner(b"j" * 32, "https://hub:8443/", 60.0).checked("PUT", key, query, 1000.0)
