"""Messages by which a site entrusts its state to the hub, encrypted by a key of its own, and recalls it (routes: site.py).

Used by both sides' modules of that; what is kept of it where is in layout.py.
"""

from pydantic import Field

from fedapi.wire.download import Download
from fedapi.wire.message import MAX_EXACT, Message, Natural, Sha256
from fedapi.wire.site import UploadGrant

MAX_ENTRUSTED = 16  # states of one site


class RecallRequest(Message):
    """The site has lost the state that its update left, and asks for what it entrusted."""

    round: Natural
    attempt: Natural
    update_sha256: Sha256 = Field(description="Of the payload `update`, as the hub names what it committed last.")


class EntrustRequest(RecallRequest):
    """The site would entrust that state, encrypted by itself: before it hands in the update, or once that is committed."""

    sha256: Sha256 = Field(description="Of what is sent, as is the size.")
    size: int = Field(ge=1, le=MAX_EXACT)
    keep_last: int = Field(ge=1, le=MAX_ENTRUSTED, description="How many the hub keeps; older ones are deleted.")


class EntrustAnswer(Message):
    """Where to put it. No grant: the hub has the state of that update, and nothing is left to do."""

    grant: UploadGrant | None = Field(None, exclude_if=lambda value: value is None)


class Recalled(Message):
    """What the site entrusted, and of which update."""

    round: Natural
    attempt: Natural
    update_sha256: Sha256
    state: Download
