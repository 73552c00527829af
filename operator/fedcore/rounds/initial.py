"""Whether the model of round 0 may come: pure decisions, as admission's are for updates.

Called by fedaggregator.engine.initial, when it is announced, sent and handed in. The first model that is handed in is
committed; from then on there is nothing to send.
"""

from fedapi.wire.initial import InitialManifest, InitialUpload
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.rounds.state import State
from fedcore.tensors import submodels
from fedcore.tensors.fragments import TooManyFragmentsError, Turn
from fedcore.tensors.tensorfile import TensorFile


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


def unfit(state: State, table: TensorFile) -> Refusal | None:
    """Whether a model is none that the job can train as it says."""
    return _unmarked(state, table) or _undivided(state, table)


def _undivided(state: State, table: TensorFile) -> Refusal | None:
    """Whether it has too few layers for the fragments of the job."""
    try:
        Turn(1, state.config.strategy.fragments).of(table.exchanged)
    except TooManyFragmentsError as error:
        return Refusal(code="Malformed", message=str(error))
    return None


def _unmarked(state: State, table: TensorFile) -> Refusal | None:
    """Whether a model lacks what the job says of tensors that stay: a trainer of an earlier version has made it."""
    training, known = state.config.training, submodels.widths(table)
    if training.local_parameters and not table.local:
        lacks = "which tensors training.localParameters leave at the sites"
    elif strange := sorted({each.model_width for each in state.config.overrides if each.model_width} - known.keys()):
        lacks = f"which tensors are smaller at clients.overrides.modelWidth {strange[0]}"
    else:
        return None
    message = f"the initial model does not say {lacks}"
    return Refusal(code="Malformed", message=f"{message}: build the task image with a trainer of this hub's version")


def _object(key: str, sha256: str, size: int) -> ObjectRef:
    return ObjectRef(key=key, sha256=sha256, size=size)


def _other_job(state: State, job_uid: str) -> Refusal | None:
    if job_uid == state.config.uid:
        return None
    return Refusal(code="Malformed", message=f"job_uid {job_uid!r} is another job's, this one is {state.config.uid!r}")
