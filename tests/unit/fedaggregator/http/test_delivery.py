"""The aggregator's own delivery: what it hands out is what the blob routes take, and what did not arrive is named."""

import asyncio
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.delivery import SignedUrls
from fedaggregator.http.signedurls import BLOBS, UrlSigner
from fedaggregator.ports import Delivery, Holder
from fedapi.wire.message import ObjectRef
from fedstore.memory import MemoryStore

SIGNER, STORE = UrlSigner(b"k" * 32, "https://hub:8443", 60.0), MemoryStore()
DELIVERY: Delivery = SignedUrls(SIGNER, STORE, lambda: 1000.0)


def checked(method, url, now=1010.0):
    parts = urlsplit(url)
    key = unquote(parts.path).removeprefix(f"{BLOBS}/")
    return SIGNER.checked(method, key, dict(parse_qsl(parts.query)), now)


def test_a_model_is_offered_and_an_upload_granted():
    ref = ObjectRef(key="models/lab/job-uid/000001-x.safetensors", sha256="a" * 64, size=7)
    offer = asyncio.run(DELIVERY.offer(ref, Holder("site")))
    assert (offer.sha256, offer.size, offer.expires_at) == (ref.sha256, 7, 1060.0)
    assert checked("GET", offer.url) == ref
    grant = asyncio.run(DELIVERY.grant(ref, Holder("site", 2, 1)))
    assert (grant.method, grant.object, grant.expires_at) == ("PUT", ref, 1060.0)
    assert checked("PUT", grant.url) == ref
    with pytest.raises(RequestRefusedError, match="not one that this aggregator signed"):
        checked("GET", grant.url)
    with pytest.raises(RequestRefusedError, match="expired"):
        checked("PUT", grant.url, 1061.0)


def test_what_did_not_arrive_is_named_with_the_way_out():
    ref = STORE.put_once("updates/lab/job-uid/a/x", b"content")
    DELIVERY.arrived(ref)
    STORE.delete(ref.key)
    with pytest.raises(RequestRefusedError, match="was not uploaded, or is damaged: ask for a grant") as told:
        DELIVERY.arrived(ref)
    assert told.value.refusal.code == "Missing"
