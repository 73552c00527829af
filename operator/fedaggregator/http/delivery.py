"""Delivery by the aggregator itself: signed URLs of its own port, which blobs.py serves from, and into, the store.

Made by __main__, used by the routes and the engine's intake through the port. What arrives was measured and hashed on
its way in, against what the URL says, before it had a name in the store.
"""

from fedaggregator.errors import RequestRefusedError
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.ports import Clock, Holder
from fedapi.wire.download import Download
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal, UploadGrant
from fedstore.objectstore import ObjectStore


class SignedUrls:
    """The port's first adapter. An object store's presigned URLs are another."""

    def __init__(self, urls: UrlSigner, store: ObjectStore, clock: Clock) -> None:
        self._urls, self._store, self._clock = urls, store, clock

    async def offer(self, model: ObjectRef, to: Holder) -> Download:
        """A URL to GET."""
        url, expires_at = self._urls.signed("GET", model, self._clock(), to)
        return Download(url=url, sha256=model.sha256, size=model.size, expires_at=expires_at)

    async def grant(self, upload: ObjectRef, to: Holder) -> UploadGrant:
        """A URL to PUT."""
        url, expires_at = self._urls.signed("PUT", upload, self._clock(), to)
        return UploadGrant(url=url, expires_at=expires_at, object=upload)

    def arrived(self, upload: ObjectRef) -> None:
        """That it has its name, which it got when its size and digest were found to be the URL's."""
        if self._store.size(upload.key) is None:
            message = f"{upload.sha256} was not uploaded, or is damaged: ask for a grant and send it"
            raise RequestRefusedError(Refusal(code="Missing", message=message))
