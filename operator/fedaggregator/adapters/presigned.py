"""Delivery by the object store itself: URLs that it takes from anybody until they expire. Tensors do not pass this process.

Made by __main__ where the store can make URLs, used by the requests and the engine's intake through the port. Such a URL
outlives the attempt that it was made for: what is put by it then is nobody's, and goes with the round's other updates.
"""

import asyncio
from dataclasses import dataclass, field

from fedaggregator.errors import FatalError, RequestRefusedError
from fedaggregator.ports import Clock, Holder
from fedapi.outcome import Exit
from fedapi.wire.download import Download
from fedapi.wire.message import MAX_CA, ObjectRef
from fedapi.wire.site import Refusal, UploadGrant
from fedstore.errors import StoreFailedError
from fedstore.presigning import Presigned, PresigningStore

_REUSED = 0.5  # of its lifetime: so long a model's URL is told to further sites
_OFFERS = 4  # of a round: a model, perhaps what its strategy keeps, and those of the round before
_NEW_S = 10.0  # so long it is told again to who has it: credentials that were exchanged are not known sooner


@dataclass
class _Offer:
    download: Download
    made_at: float
    told: set[str] = field(default_factory=set)  # sites


class PresignedUrls:
    """The port's second adapter. URLs are made in threads: some clouds sign by asking a service."""

    def __init__(self, store: PresigningStore, clock: Clock, lifetime_s: float) -> None:
        self._store, self._clock, self._lifetime_s = store, clock, lifetime_s
        self._offered: dict[ObjectRef, _Offer] = {}  # the newest last
        self._offering = asyncio.Lock()
        try:
            _ca(store)
        except StoreFailedError as error:
            raise FatalError(Exit.BAD_SETTINGS, str(error)) from error

    async def offer(self, model: ObjectRef, to: Holder) -> Download:
        """One URL for all sites, since all of them get the same objects. Made anew before it gets old, or when it did not do."""
        async with self._offering:
            offer = self._offered.get(model)
            if offer is None or self._is_old(offer, to):
                now = self._clock()
                made, ca = await asyncio.to_thread(self._presigned_get, model)
                said = {"sha256": model.sha256, "size": model.size, "expires_at": made.expires_at}
                offer = _Offer(Download(url=made.url, **said, ca=ca), now)
                self._offered = dict([*self._offered.items(), (model, offer)][-_OFFERS:])
            offer.told.add(to.client)
            return offer.download

    async def grant(self, upload: ObjectRef, to: Holder) -> UploadGrant:
        """A URL for one object; RequestRefusedError when the store does not take so much at once."""
        del to
        if upload.size > (most := self._store.largest_put_bytes):
            message = f"size {upload.size} is over {most} bytes, the most that this store takes by one request"
            way_out = "train a smaller part of the model, or keep the job's store on a volume"
            raise RequestRefusedError(Refusal(code="TooLarge", message=f"{message}: {way_out}"))
        made, ca = await asyncio.to_thread(self._presigned_put, upload)
        return UploadGrant(url=made.url, headers=made.headers, expires_at=made.expires_at, object=upload, ca=ca)

    def arrived(self, upload: ObjectRef) -> None:
        """By what the store says of it. What is something else is deleted, since nothing could be put in its place."""
        trouble = self._store.arrived(upload)
        if trouble:
            self._store.delete(upload.key)
            message = f"{upload.sha256} was not uploaded as it was announced ({trouble}): ask for a grant and send it"
            raise RequestRefusedError(Refusal(code="Missing", message=message))

    def _is_old(self, offer: _Offer, to: Holder) -> bool:
        """Who asks again could not use it: what signed it may be void by now, or its CA another."""
        now = self._clock()
        in_vain = to.client in offer.told and now - offer.made_at >= _NEW_S
        return in_vain or offer.download.expires_at - now < self._lifetime_s * _REUSED

    def _presigned_get(self, ref: ObjectRef) -> tuple[Presigned, str | None]:
        return self._store.presigned_get(ref, self._clock(), self._lifetime_s), _ca(self._store)

    def _presigned_put(self, ref: ObjectRef) -> tuple[Presigned, str | None]:
        return self._store.presigned_put(ref, self._clock(), self._lifetime_s), _ca(self._store)


def _ca(store: PresigningStore) -> str | None:
    """What sites are told of the store's CA; StoreFailedError when that is more than they take."""
    if (size := len(ca := store.ca())) > MAX_CA:
        message = f"ca.crt of the store's credentials has {size} characters, sites are told at most {MAX_CA}"
        raise StoreFailedError(f"{message}: give the CA of the endpoint alone")
    return ca or None
