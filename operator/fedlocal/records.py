"""Reads a job's store as the run left it: committed rounds with their times, and their models; and repairs it.

Called by fedcli (`fedloom rounds`, `fedloom model pull` and `list`, `fedloom store repair`, `fedloom evaluate`) and by the benchmarks.
"""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedaggregator.engine.salvage import repaired
from fedaggregator.errors import FatalError, StoreDamagedError
from fedapi.crd.ledger import public_key
from fedapi.crd.storage import Storage
from fedapi.jsonvalue import Json
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import NewerRecordError, ObjectRef
from fedlocal.errors import BadInputError, StateBrokenError
from fedlocal.statefolder import StateFolder, locked
from fedoperator.decide.view import dig
from fedstore import history, wholemodel
from fedstore.errors import ContentMismatchError, HistoryDamagedError, MissingError, StoreError
from fedstore.fetching import fetch
from fedstore.history import Committed
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store


@dataclass(frozen=True)
class RoundTime:
    """Where the time of a committed round went, in seconds."""

    round: int
    wall_s: float  # from the plan to the commit
    slowest_training_s: float
    sites: int

    @property
    def overhead_s(self) -> float:
        """What is not training."""
        return self.wall_s - self.slowest_training_s


def state_of(workdir: Path, job: str | None) -> StateFolder:
    """The state folder of a job, or of the only one there."""
    found = sorted(path.parent.name for path in workdir.glob("*/job.json"))
    if job in found:
        return StateFolder((workdir / job).absolute()) if job else StateFolder(workdir)
    if job is None and len(found) == 1:
        return StateFolder((workdir / found[0]).absolute())
    known = ", ".join(found) or "none"
    raise BadInputError(
        f"{workdir}: no run of {job or 'exactly one job'} here (found: {known}): name the job, or give --workdir"
    )


def rounds(state: StateFolder) -> list[RoundTime]:
    """Committed rounds from 1 on, oldest first."""
    return [_time(each) for each in committed(state) if each.record.round > 0]


def overhead_s(times: Sequence[RoundTime]) -> float:
    """Median overhead of the rounds after the first."""
    return statistics.median(time.overhead_s for time in times[1:] or times)


def committed(state: StateFolder) -> list[Committed]:
    """Every committed round, oldest first, and whether its model is kept. StateBrokenError where a link is missing."""
    layout, place = _store(state)
    if place is None:
        return []
    try:
        return history.committed(place.opened(), layout)
    except HistoryDamagedError as error:
        raise StateBrokenError(f"{place.where}: {StoreDamagedError(str(error))}") from error
    except (StoreError, NewerRecordError) as error:
        raise StateBrokenError(f"{place.where}: {error}") from error


def opened(state: StateFolder) -> tuple[ObjectStore, Layout]:
    """The job's store, and where the job is in it. StoreError."""
    layout, place = _store(state)
    return _there(state, place).opened(), layout


def last_status(state: StateFolder) -> Json:
    """What the aggregator last told of the job; empty before it has."""
    try:
        found = json.loads(state.aggregator_status.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StateBrokenError(f"{state.aggregator_status} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def repair(state: StateFolder) -> list[str]:
    """Repairs the job's store, and says what was damaged and what was done. StateBrokenError when it cannot be."""
    layout, found = _store(state)
    place = _there(state, found)
    with locked(state.root):
        try:
            return list(repaired(place.opened(), layout, _ledger_key(state)))
        except (FatalError, StoreError) as error:
            raise StateBrokenError(f"{place.where}: {error}") from error


def _ledger_key(state: StateFolder) -> str:
    """As the status says it, which is made anew where it is damaged."""
    try:
        return public_key(last_status(state))
    except StateBrokenError:
        return ""


def _there(state: StateFolder, place: "Place | None") -> "Place":
    if place is None:
        raise BadInputError(f"{state.root}: no store is here yet: run the job first")
    return place


@dataclass(frozen=True)
class Place:
    """Where a job's objects are."""

    where: str
    credentials: Path | None = None

    def opened(self) -> ObjectStore:
        """The store. StoreError."""
        return open_store(self.where, self.credentials)


def _store(state: StateFolder) -> tuple[Layout, Place | None]:
    """Where the job's objects are; no place before an aggregator has begun, unless it is a bucket."""
    record = _record(state)
    metadata = record["metadata"]
    layout = Layout(metadata["namespace"], metadata["name"], metadata["uid"])
    folders = (Path(layout.head).parent, Path(layout.models()))
    if bucket := Storage.model_validate(dig(record, "spec", "storage") or {}).bucket:
        asked = bucket.credentials_secret_ref
        return layout, Place(bucket.location().text(), state.secret(asked.name) if asked else None)
    claims = sorted((state.root / "claims").glob("*"))
    found = next((claim for claim in claims if any((claim / each).is_dir() for each in folders)), None)
    return layout, Place(str(found)) if found else None


def job_of(state: StateFolder) -> Json:
    """The job as it is recorded, with its status."""
    return _record(state)


def copy_model(
    state: StateFolder,
    target: Path,
    round_: int | None = None,
    *,
    exchanged_alone: bool = False,
    check: Callable[[ObjectRef], None] = lambda _: None,
) -> str:
    """Copies the last committed model, or that of a round, and returns the copy's SHA-256; the model's is checked on the way.

    `exchanged_alone`: of a model of which a part travels, that part. `check` is asked before, and raises what it has against it.
    """
    model, initial = _last(state) if round_ is None else _of_round(state, round_)
    check(model)
    _, place = _store(state)
    source = f"{place.where if place else state.root}: {model.key}"
    try:
        store = (place or Place(str(state.root))).opened()
        fetched = partial(fetch, store)
        return wholemodel.pulled(fetched, model, initial, target, exchanged_alone=exchanged_alone)
    except OSError as error:
        raise StateBrokenError(f"{source} cannot be copied to {target}: {error.strerror}") from error
    except ContentMismatchError as error:
        way_out = "`fedloom store repair` goes back to the newest round that is whole"
        raise StateBrokenError(f"{source}: {error}: the file is damaged; {way_out}") from error
    except StoreError as error:
        raise StateBrokenError(f"{source} cannot be copied to {target}: {error}") from error


_KEY_PARTS = 4  # of a model: models/NAMESPACE/JOB-UID/FILE (fedapi.wire.layout.Layout)


def _last(state: StateFolder) -> tuple[ObjectRef, ObjectRef | None]:
    """The model that the job's status names, and the initial one that it is whole over."""
    model = _record(state)["status"].get("model")
    if not model:
        raise BadInputError(f"{state.root}: no model is committed yet: run the job first")
    return _ref(model), _ref(model["initial"]) if model.get("initial") else None


def _ref(said: Json) -> ObjectRef:
    return ObjectRef(key="/".join(said["uri"].split("/")[-_KEY_PARTS:]), sha256=said["sha256"], size=0)


def commit(state: StateFolder, round_: int) -> CommitRecord:
    """The commit of a round whose model is kept. BadInputError says which are."""
    try:
        return history.of_round(committed(state), round_)
    except MissingError as error:
        raise BadInputError(f"{state.root}: {error}") from error


def _of_round(state: StateFolder, round_: int) -> tuple[ObjectRef, ObjectRef | None]:
    found = commit(state, round_)
    return found.model, found.initial


def _record(state: StateFolder) -> Json:
    record = state.read()
    if record is None:
        raise BadInputError(f"{state.root}: nothing was run here: run the job first")
    return record


def _time(each: Committed) -> RoundTime:
    commit = each.record
    return RoundTime(commit.round, commit.committed_at - commit.planned_at, each.slowest_training_s, each.sites)
