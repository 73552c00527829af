"""The CA of an object store is told to sites that can read of it, and its absence to those that cannot."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.requests.sites import SiteRequests
from fedapi.wire.download import Download
from fedapi.wire.protocol import PROTOCOL
from fedapi.wire.site import NextRequest, UploadGrant, UploadRequest
from fedcore.rounds.compatibility import Speech
from fedstore.errors import StoreDeniedError
from tests.unit.fedcore.rounds.test_round_rules import collecting


class Store:
    """A delivery whose endpoint has a CA of its own; `error`: why it makes no URL."""

    error: Exception | None = None

    async def offer(self, model, _):
        if self.error:
            raise self.error
        return Download(url="https://store/m", sha256=model.sha256, size=model.size, expires_at=1.0, ca="PEM")

    async def grant(self, upload, _):
        if self.error:
            raise self.error
        return UploadGrant(url="https://store/u", expires_at=1.0, object=upload, ca="PEM")


def asked(protocol, store):
    """The requests of a hub whose site `a` speaks that, and what it knows of the store's trouble."""
    state, trouble = collecting(), []
    state = state.with_site("a", replace(state.site("a"), speech=Speech(protocol, 1)))
    engine = SimpleNamespace(state=state, store_failed=trouble.append)
    small = SimpleNamespace(content=lambda _: None)
    return SiteRequests(engine, None, None, store, None, small, SimpleNamespace(inline_bytes=0), None, None), trouble


UPDATE = UploadRequest(round=1, attempt=1, sha256="a" * 64, size=10)


@pytest.mark.parametrize(("protocol", "ca"), [(1, None), (PROTOCOL, "PEM")])
def test_sites_of_protocol_1_are_told_no_ca(protocol, ca):
    requests, _ = asked(protocol, Store())
    grant = asyncio.run(requests.upload("a", UPDATE))
    order = asyncio.run(requests._assigned("a", NextRequest(protocol=protocol))).train
    assert (grant.ca, order.model.ca) == (ca, ca)
    assert ('"ca"' in grant.model_dump_json()) is (ca is not None)


def test_a_store_that_makes_no_url_is_told_and_asked_again():
    store = Store()
    requests, trouble = asked(PROTOCOL, store)
    store.error = StoreDeniedError("AccessDenied")
    for asking in (requests.upload("a", UPDATE), requests._assigned("a", NextRequest(protocol=PROTOCOL))):
        with pytest.raises(RequestRefusedError, match="the store makes no URL now") as told:
            asyncio.run(asking)
        assert told.value.refusal.code == "StoreFull"
    assert trouble == [store.error] * 2
