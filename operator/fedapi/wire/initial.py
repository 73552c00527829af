"""Messages between the init Job and the aggregator: the model of round 0 arrives by grant, as an update does.

    POST /v1/initial/uploads  InitialUpload   -> UploadGrant   (409: the job has its model, there is nothing left to do)
    PUT  {url of the grant}   bytes
    POST /v1/initial/models   InitialManifest -> Receipt       (durable: round 0 is committed)

Both POSTs need `Authorization: Bearer <init token>`. Error answers are those of fedapi.wire.site.
"""

from pydantic import Field

from fedapi.wire.message import MAX_EXACT, Message, Name, ObjectRef, Sha256

INITIAL = "/v1/initial"


class InitialUpload(Message):
    """Announces a model: what will be sent."""

    job_uid: Name
    sha256: Sha256
    size: int = Field(ge=1, le=MAX_EXACT)


class InitialManifest(Message):
    """Hands in the model that was sent. The first one counts; sent again, it is a duplicate."""

    job_uid: Name
    payload: ObjectRef = Field(description="The model file, safetensors: the object of the grant.")
