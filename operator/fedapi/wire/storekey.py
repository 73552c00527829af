"""What a key of the store's layout says: the inverse of store.Layout. Pure. Nothing else takes keys apart.

A key that is none of these is a foreign file (a README, what a file system leaves behind): it is left alone.
"""

import re
from dataclasses import dataclass

from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import SITE_EVALUATION, Layout
from fedapi.wire.message import ObjectRef


@dataclass(frozen=True)
class RecordKey:
    """A record of one attempt by one aggregator: plan, close, commit, evaluation, failure, issues, or a step of an exchange."""

    round: int
    epoch: int
    attempt: int
    name: str  # of the file


@dataclass(frozen=True)
class ModelKey:
    """A model."""

    round: int
    sha256: str


@dataclass(frozen=True)
class BroadcastKey:
    """A model as sites get it from a round on."""

    round: int
    sha256: str


@dataclass(frozen=True)
class SumKey:
    """What sites sent under masks or encrypted for a round, summed."""

    round: int
    sha256: str


@dataclass(frozen=True)
class HubStateKey:
    """What a strategy remembers after a round."""

    round: int
    sha256: str


@dataclass(frozen=True)
class UpdateKey:
    """A site's update."""

    client: str
    round: int
    sha256: str
    encrypted: bool


@dataclass(frozen=True)
class ManifestKey:
    """What makes a site's update count."""

    client: str
    round: int
    attempt: int


@dataclass(frozen=True)
class ReportKey:
    """A site's evaluation of a model."""

    client: str
    round: int


@dataclass(frozen=True)
class SiteEvaluationKey:
    """What a site measured of a model outside of training."""

    round: int
    client: str
    model_sha256: str


@dataclass(frozen=True)
class EntrustedKey:
    """A site's state, as it entrusted it: of which of its updates, and what its bytes must be."""

    client: str
    round: int
    attempt: int
    update_sha256: str
    sha256: str


StoreKey = (
    RecordKey
    | SiteEvaluationKey
    | ModelKey
    | BroadcastKey
    | SumKey
    | HubStateKey
    | UpdateKey
    | ManifestKey
    | ReportKey
    | EntrustedKey
)
_ROUND, _SHA256 = "([0-9]{1,9})", "([0-9a-f]{64})"
_RECORD = re.compile(
    rf"{_ROUND}/e([0-9]{{1,9}})-a([0-9]{{1,9}})/((?:plan|close|commit|evaluation|failure|issues|"
    r"secure-(?:participants|shares|consents|openings))\.json)"
)
_SITE_EVALUATION = re.compile(rf"{_ROUND}/sites/([^/]+)/{_SHA256}/{re.escape(SITE_EVALUATION)}")
_MODEL = re.compile(rf"{_ROUND}-{_SHA256}\.safetensors")
_BROADCAST = re.compile(rf"{_ROUND}-{_SHA256}\.broadcast\.safetensors")
_SUM = re.compile(rf"{_ROUND}-{_SHA256}\.sum\.safetensors")
_SENT = re.compile(
    rf"([^/]+)/client_\1_round_{_ROUND}(?:-{_SHA256}\.safetensors(\.enc)?|-a([0-9]{{1,9}})\.manifest\.json|\.evaluation\.json)"
)
_ENTRUSTED = re.compile(rf"([^/]+)/client_\1_round_{_ROUND}-a([0-9]{{1,9}})-{_SHA256}-{_SHA256}\.safetensors\.enc")

_JOB = re.compile(r"(?:control|models|hubstate)/([^/]+)/([^/]+)-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/.*")


def head_of(key: str) -> Layout | None:
    """The job whose HEAD a key is; None when it is none."""
    job = job_of(key)
    return job if job is not None and job.head == key else None


def job_of(key: str) -> Layout | None:
    """The job whose object a key names; None when it is no object of ours."""
    found = _JOB.fullmatch(key)
    return Layout(found[1], found[2], found[3]) if found else None


def here(layout: Layout, commit: CommitRecord) -> CommitRecord:
    """A commit with its objects where they are in this store: one that was restored names those of the job that made it."""
    named = {name: getattr(commit, name) for name in ("model", "hub_state", "initial", "reference")}
    return commit.model_copy(update={name: _moved(layout, ref) for name, ref in named.items() if ref is not None})


def _moved(layout: Layout, ref: ObjectRef) -> ObjectRef:
    job = job_of(ref.key)
    inside = job.inside(ref.key) if job is not None and job != layout else None
    return ref if inside is None else ref.model_copy(update={"key": layout.at(inside)})


def parsed(layout: Layout, key: str) -> StoreKey | None:
    """What a key of this job says; None when it is no object of ours."""
    found = (
        _record(layout, key)
        or _site_evaluation(layout, key)
        or _model(layout, key)
        or _broadcast(layout, key)
        or _sum(layout, key)
        or _hub_state(layout, key)
        or _sent(layout, key)
        or _entrusted(layout, key)
    )
    return found if found is not None and _spelled(layout, found) == key else None


def _record(layout: Layout, key: str) -> RecordKey | None:
    found = _RECORD.fullmatch(key.removeprefix(f"{layout.rounds()}/"))
    return RecordKey(int(found[1]), int(found[2]), int(found[3]), found[4]) if found else None


def _site_evaluation(layout: Layout, key: str) -> SiteEvaluationKey | None:
    found = _SITE_EVALUATION.fullmatch(key.removeprefix(f"{layout.rounds()}/"))
    return SiteEvaluationKey(int(found[1]), found[2], found[3]) if found else None


def _model(layout: Layout, key: str) -> ModelKey | None:
    found = _MODEL.fullmatch(key.removeprefix(f"{layout.models()}/"))
    return ModelKey(int(found[1]), found[2]) if found else None


def _broadcast(layout: Layout, key: str) -> BroadcastKey | None:
    found = _BROADCAST.fullmatch(key.removeprefix(f"{layout.models()}/"))
    return BroadcastKey(int(found[1]), found[2]) if found else None


def _sum(layout: Layout, key: str) -> SumKey | None:
    found = _SUM.fullmatch(key.removeprefix(f"{layout.models()}/"))
    return SumKey(int(found[1]), found[2]) if found else None


def _hub_state(layout: Layout, key: str) -> HubStateKey | None:
    found = _MODEL.fullmatch(key.removeprefix(f"{layout.hub_states()}/"))
    return HubStateKey(int(found[1]), found[2]) if found else None


def _sent(layout: Layout, key: str) -> UpdateKey | ManifestKey | ReportKey | None:
    found = _SENT.fullmatch(key.removeprefix(f"{layout.all_updates()}/"))
    if found is None:
        return None
    client, round_, sha256, attempt = found[1], int(found[2]), found[3], found[5]
    if sha256:
        return UpdateKey(client, round_, sha256, encrypted=found[4] is not None)
    return ManifestKey(client, round_, int(attempt)) if attempt else ReportKey(client, round_)


def _entrusted(layout: Layout, key: str) -> EntrustedKey | None:
    found = _ENTRUSTED.fullmatch(key.removeprefix(layout.at("checkpoints/")))
    return EntrustedKey(found[1], int(found[2]), int(found[3]), found[4], found[5]) if found else None


def _spelled(layout: Layout, found: StoreKey) -> str:
    """The one key that says this."""
    match found:
        case RecordKey():
            key = layout.record(found.round, found.epoch, found.attempt, found.name)
        case SiteEvaluationKey():
            key = layout.site_evaluation(found.client, found.round, found.model_sha256)
        case ModelKey() | BroadcastKey() | SumKey() | HubStateKey():
            key = _spelled_model(layout, found)
        case UpdateKey():
            key = layout.update(found.client, found.round, found.sha256, encrypted=found.encrypted)
        case ManifestKey():
            key = layout.manifest(found.client, found.round, found.attempt)
        case ReportKey():
            key = layout.evaluation_report(found.client, found.round)
        case EntrustedKey():
            key = layout.entrusted_state(found.client, found.round, found.attempt, found.update_sha256, found.sha256)
    return key


def _spelled_model(layout: Layout, found: ModelKey | BroadcastKey | SumKey | HubStateKey) -> str:
    match found:
        case ModelKey():
            return layout.model(found.round, found.sha256)
        case BroadcastKey():
            return layout.broadcast(found.round, found.sha256)
        case SumKey():
            return layout.sum_of_updates(found.round, found.sha256)
        case HubStateKey():
            return layout.hub_state(found.round, found.sha256)
