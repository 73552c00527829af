"""The messages of fedapi.wire.site as they travel by queue: sealed in envelopes, answered by name, each taken once.

    site -> hub:   Envelope of a QueuedRequest     into broker.hub_queue
    hub -> site:   Envelope of a QueuedAnswer      into broker.site_queue

What a path, a body and a status mean is as over HTTPS. A request is taken in a session alone: the hub offers one, sealed
to the site, in answer to a request that has none or one that it does not know, and the site asks again in it. Numbers of
a session rise, and each is taken once, so that nothing is taken again that a queue delivers twice or somebody replays. No
clock is in the proof: a message may wait as long as the queue lets it.
"""

from typing import Annotated, Literal

from pydantic import Field

from fedapi.wire.message import Inline, Message, Name, Natural

Path = Literal["next", "uploads", "updates", "evaluations", "failures", "entrust", "recall"]
HELD_S = 120.0  # that a question for work is held: a site that waits says so often that it is there


class Envelope(Message):
    """What lies in the queue. Names of job and site are bound to what is sealed (fedqueue.sealing)."""

    job_uid: Name
    client: Name
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{24}$")]
    sealed: Inline


class QueuedRequest(Message):
    """What a site asks or sends. `body`: JSON of the path's message."""

    session: Annotated[str, Field(max_length=128)] = Field("", description="As the hub offered it; none yet: empty.")
    number: Natural = Field(description="Rising in a session.")
    path: Path
    body: str


class QueuedAnswer(Message):
    """What the hub answers. Session: nothing was taken, ask again in that one. Restarted: ask again what waits for an answer."""

    kind: Literal["Answer", "Session", "Restarted"] = "Answer"
    to: str = Field("", description="Nonce of the request's envelope; none: Restarted.")
    session: str = ""
    status: int = Field(200, description="As over HTTPS: of a Refusal where it is over 299.")
    body: str = ""
