"""Delivery by an object store: what sites are told is what the store takes, and what did not arrive can be put again."""

import asyncio

import pytest

from fedaggregator.adapters.presigned import PresignedUrls
from fedaggregator.errors import FatalError, RequestRefusedError
from fedaggregator.ports import Delivery, Holder
from fedapi.outcome import Exit
from fedapi.wire.message import MAX_CA, ObjectRef
from fedstore.errors import StoreFailedError
from fedstore.memory import MemoryStore
from fedstore.objectstore import DIGEST
from fedstore.presigning import Presigned

LIFETIME_S = 1800.0


class Bucket(MemoryStore):
    """A store in memory that signs, and says of an object what it holds."""

    largest_put_bytes = 1000

    def __init__(self, ca=""):
        super().__init__()
        self.signed, self._ca = 0, ca

    def ca(self):
        return self._ca

    def _signed(self, method, ref, now, lifetime_s, **headers):
        self.signed += 1
        return Presigned(method, f"https://store/{ref.key}?signature={self.signed}", now + lifetime_s, headers)

    def presigned_get(self, ref, now, lifetime_s):
        return self._signed("GET", ref, now, lifetime_s)

    def presigned_put(self, ref, now, lifetime_s):
        return self._signed("PUT", ref, now, lifetime_s, **{"if-none-match": "*"})

    def arrived(self, ref):
        found = self.size(ref.key)
        return "" if found == ref.size else "it is not there" if found is None else f"it has {found} bytes"


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def delivered(bucket, clock=None):
    made: Delivery = PresignedUrls(bucket, clock or Clock(), LIFETIME_S)
    return made


def test_a_model_and_what_goes_with_it_have_a_url_each_for_all_sites():
    bucket = Bucket()
    delivery = delivered(bucket)
    refs = [bucket.put_once(f"models/{n}-{DIGEST}", bytes([n])) for n in range(12)]

    async def both(site, *pair):
        return [(await delivery.offer(ref, Holder(site))).sha256 for ref in pair]

    with asyncio.Runner() as runner:
        for round_ in range(6):
            pair = refs[2 * round_ : 2 * round_ + 2]
            for site in range(10):
                assert runner.run(both(f"site-{site}", *pair)) == [ref.sha256 for ref in pair]
            assert bucket.signed == 2 * (round_ + 1)
    assert len(delivery._offered) <= 4, "of rounds before nothing is kept"


def test_one_url_of_a_model_is_made_for_all_sites_and_anew_before_it_is_old():
    bucket, clock = Bucket(), Clock()
    delivery = delivered(bucket, clock)
    model, next_model = (bucket.put_once(f"models/m-{DIGEST}", data) for data in (b"one", b"two"))

    async def offers(ref, sites=tuple(f"site-{n}" for n in range(20))):
        return await asyncio.gather(*(delivery.offer(ref, Holder(site)) for site in sites))

    with asyncio.Runner() as runner:
        first, *others = runner.run(offers(model))
        assert set(others) == {first}
        assert (first.sha256, first.size, first.expires_at, first.ca) == (model.sha256, model.size, 2800.0, None)
        clock.now += 0.4 * LIFETIME_S
        other = [f"other-{n}" for n in range(20)]
        assert runner.run(offers(model, other))[0] == first
        clock.now += 0.2 * LIFETIME_S
        renewed = runner.run(offers(model, [f"third-{n}" for n in range(20)]))[0]
        assert renewed.url != first.url
        assert renewed.expires_at == clock.now + LIFETIME_S
        assert runner.run(offers(next_model))[0].sha256 == next_model.sha256
    assert bucket.signed == 3


def test_who_asks_again_gets_another_url_since_the_first_did_not_do():
    """Credentials that were exchanged take the URLs with them that they signed, and their CA."""
    bucket, clock = Bucket(), Clock()
    delivery = delivered(bucket, clock)
    model = bucket.put_once(f"models/m-{DIGEST}", b"one")

    async def urls(*sites):
        return [(await delivery.offer(model, Holder(site))).url.rpartition("=")[2] for site in sites]

    with asyncio.Runner() as runner:
        assert runner.run(urls("a", "b", "a")) == ["1", "1", "1"], "not at once"
        clock.now += 10
        assert runner.run(urls("c", "a", "b", "a")) == ["1", "2", "2", "2"]
        clock.now += 10
        assert runner.run(urls("d", "b")) == ["2", "3"]


def test_a_grant_is_what_the_store_signed_with_its_ca():
    delivery = delivered(Bucket(ca="PEM"))
    ref = ObjectRef(key="updates/x", sha256="a" * 64, size=1000)
    grant = asyncio.run(delivery.grant(ref, Holder("site", 2, 1)))
    assert (grant.method, grant.object, grant.headers, grant.ca) == ("PUT", ref, {"if-none-match": "*"}, "PEM")
    with pytest.raises(RequestRefusedError) as told:
        asyncio.run(delivery.grant(ref.model_copy(update={"size": 1001}), Holder("site", 2, 1)))
    assert told.value.refusal.code == "TooLarge"
    assert "size 1001 is over 1000 bytes, the most that this store takes by one request" in str(told.value)


def test_what_is_not_what_was_announced_is_named_and_makes_room():
    bucket = Bucket()
    delivery = delivered(bucket)
    ref = ObjectRef(key="updates/x", sha256="a" * 64, size=4)
    for stored in (None, b"cut", b"too long"):
        if stored is not None:
            bucket.put_once(ref.key, stored)
        with pytest.raises(RequestRefusedError, match="was not uploaded as it was announced") as told:
            delivery.arrived(ref)
        assert told.value.refusal.code == "Missing"
        assert bucket.size(ref.key) is None
    bucket.put_once(ref.key, b"four")
    delivery.arrived(ref)


def test_a_ca_that_is_too_long_to_be_told_ends_the_start():
    with pytest.raises(FatalError, match=f"ca.crt of the store's credentials has {MAX_CA + 1} characters") as told:
        delivered(Bucket(ca="x" * (MAX_CA + 1)))
    assert told.value.code == Exit.BAD_SETTINGS


def test_a_ca_that_grew_too_long_meanwhile_is_the_stores_trouble():
    bucket = Bucket()
    delivery, ref = delivered(bucket), bucket.put_once(f"models/m-{DIGEST}", b"one")
    bucket._ca = "x" * (MAX_CA + 1)
    for call in (delivery.offer, delivery.grant):
        with pytest.raises(StoreFailedError, match="give the CA of the endpoint alone"):
            asyncio.run(call(ref, Holder("a", 1, 1)))
