"""What a run starts from: the request, the job as an earlier run stored it, and whether that has ended. Called by runner.py."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fedapi.jsonvalue import Json
from fedlocal.cluster import timestamp
from fedlocal.errors import BadInputError, Problem
from fedlocal.manifests import Document, Manifests, namespace
from fedlocal.statefolder import StateFolder
from fedlocal.validation import checked

Trainers = Literal["auto", "own", "shared"]
End = Literal["Complete", "Failed", "Suspended"]


@dataclass(frozen=True)
class Request:
    """What to run, where."""

    manifests: Manifests
    job: Document
    workdir: Path
    fresh: bool = False
    trainers: Trainers = "auto"  # whether sites of one rank have processes of their own

    @property
    def name(self) -> str:
        """Name of the job."""
        return str(self.job.body["metadata"]["name"])

    @property
    def state(self) -> StateFolder:
        """The job's state folder."""
        return StateFolder((self.workdir / self.name).absolute())


def stored(request: Request) -> Json:
    """The job as it is stored, with this manifest's spec; a new one where there is none.

    BadInputError names fields that cannot change once the job exists, or that act no more now that it has ended.
    """
    old, body = request.state.read(), request.job.body
    if old is None:
        now = timestamp(datetime.now(UTC))
        return _with_identity(request, {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": now}, {})
    try:
        identity = {name: old["metadata"][name] for name in ("uid", "generation", "creationTimestamp")}
        spec, status = old["spec"], old["status"]
    except (KeyError, TypeError) as error:
        raise request.state.broken(f"lacks {error}") from error
    _, findings = checked(body, old)
    if findings:
        way_out = f" (here: run with --fresh, or with another --workdir; the job is stored in {request.state.root})"
        raise BadInputError([Problem(request.job.where, path, message + way_out) for path, message in findings])
    identity["generation"] += spec != body["spec"]
    job = _with_identity(request, identity, status)
    if ended(job) in ("Complete", "Failed") and _undecided(job):
        raise BadInputError([Problem(request.job.where, "spec.rollbackTo", _over(request, job))])
    return job


def _undecided(job: Json) -> bool:
    """Whether the job's aggregator has never said what becomes of spec.rollbackTo."""
    asked, told = job["spec"].get("rollbackTo"), job["status"].get("rollback") or {}
    return bool(asked) and (asked["round"], asked.get("id", "")) != (told.get("round"), told.get("id", ""))


def _over(request: Request, job: Json) -> str:
    round_ = job["spec"]["rollbackTo"]["round"]
    pull = f"fedloom model pull {request.name} --workdir {request.workdir} --round {round_} -o FILE"
    return (
        f"the job has ended, and only one that trains goes back: remove rollbackTo; the model of round {round_} is had by "
        f"`{pull}`, and a job of another name goes on from it by task.initialModel, or run with --fresh to begin anew"
    )


def _with_identity(request: Request, identity: Json, status: Json) -> Json:
    body = request.job.body
    metadata = {**body["metadata"], "namespace": namespace(request.job), **identity}
    return {**body, "metadata": metadata, "status": status}


def ended(job: Json) -> End | None:
    """How the job has ended, or that it is suspended; None while there is something to do."""
    held = {c["type"] for c in job["status"].get("conditions") or () if c["status"] == "True"}
    if "Complete" in held:
        return "Complete"
    if "Failed" in held:
        return "Failed"
    return "Suspended" if "Suspended" in held and job["spec"].get("suspend") else None
