"""Whether the model of round 0 may come: pure decisions, as admission's are for updates.

Called by fedaggregator.engine.initial, when it is announced, sent and handed in. The first model that is handed in is
committed; from then on there is nothing to send.
"""

from fedapi.wire.initial import InitialManifest, InitialUpload
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.rounds.state import State


def unwanted(state: State) -> Refusal | None:
    """Whether the job has its model."""
    if state.tip is None:
        return None
    return Refusal(code="Duplicate", message=f"job {state.config.name!r} has its initial model: nothing is left to do")


def upload(state: State, request: InitialUpload) -> Refusal | ObjectRef:
    """Where an announced model goes, or why it does not."""
    key = state.layout.model(0, request.sha256)
    return _other_job(state, request.job_uid) or unwanted(state) or _object(key, request.sha256, request.size)


def handed_in(state: State, manifest: InitialManifest) -> Refusal | None:
    """What is wrong with a manifest; that the job has its model is not."""
    expected = state.layout.model(0, manifest.payload.sha256)
    if manifest.payload.key != expected:
        return Refusal(code="Malformed", message=f"payload.key must be {expected!r}: use the object of the grant")
    return _other_job(state, manifest.job_uid)


def _object(key: str, sha256: str, size: int) -> ObjectRef:
    return ObjectRef(key=key, sha256=sha256, size=size)


def _other_job(state: State, job_uid: str) -> Refusal | None:
    if job_uid == state.config.uid:
        return None
    return Refusal(code="Malformed", message=f"job_uid {job_uid!r} is another job's, this one is {state.config.uid!r}")
