"""Live pods and Jobs (JobSets too) as small values: the only place of `decide` that reads the API's raw JSON of them.

Absent fields read as empty: an object that the API server has just made says little.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedapi.printable import visible
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import instant

QUEUE_LABEL = names.LABEL_QUEUE  # a Job with this label is started and stopped by a queue alone
_EPOCH = datetime.fromtimestamp(0, UTC)


def dig(body: Any, *path: str) -> Any:
    """The value below nested keys, or None."""
    for key in path:
        if not isinstance(body, Mapping):
            return None
        body = body.get(key)
    return body


def labels(body: JsonView) -> Mapping[str, str]:
    """Labels of an object."""
    return dig(body, "metadata", "labels") or {}


def condition(body: JsonView, type_: str) -> JsonView:
    """The condition of that type in an object's status, or {}."""
    found: Sequence[JsonView] = dig(body, "status", "conditions") or ()
    return next((c for c in found if c.get("type") == type_), {})


def _time(text: str | None) -> datetime | None:
    return instant(text) if text else None


def last_words(message: str) -> str:
    """Of a termination message: its last line, because it may be a tail of the log; of a crash the whole report.

    Python's faulthandler writes the signal, then the stack, then the names of all extension modules, which help nobody
    here. A kubelet cuts the beginning off a long one.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    end = next((at for at, line in enumerate(lines) if line.startswith("Extension modules: ")), len(lines))
    begin = next((at for at, line in enumerate(lines[:end]) if "Fatal Python error: " in line), None)
    if begin is None:
        begin = 0 if end < len(lines) else end - 1
    return visible(_message(" ".join(lines[max(begin, 0) : end])).replace("\n", " "))


def _message(line: str) -> str:
    """What a line of a log says (fedapi.jsonlog); another line as it is."""
    try:
        said = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):  # a task can write there what it likes
        return line
    if not isinstance(said, dict) or not isinstance(said.get("message"), str):
        return line
    trace = str(said.get("error") or "").strip().splitlines()
    return ": ".join((said["message"], *trace[-1:]))


@dataclass(frozen=True)
class Termination:
    """How a container ended."""

    code: int
    reason: str
    message: str
    finished: datetime

    @classmethod
    def of(cls, state: JsonView | None, default: datetime) -> "Termination | None":
        """From a container state, with the last words of the process."""
        ended = dig(state, "terminated")
        if not ended:
            return None
        code, reason = int(ended.get("exitCode", 0)), ended.get("reason") or ""
        return cls(code, reason, last_words(ended.get("message") or ""), _time(ended.get("finishedAt")) or default)


@dataclass(frozen=True)
class PodView:
    """What decisions need to know of a pod."""

    name: str
    role: str
    client: str
    job: str  # the Job that made it; the JobSet, when that Job is one of a JobSet's
    phase: str
    created: datetime
    scheduled: datetime | None
    scheduling: tuple[str, str]  # reason and message while it has no node
    ready: bool
    ready_since: datetime | None
    deleting: bool
    disrupted: bool
    sandboxed: bool  # its sandbox stands, which is made after the mounts
    waiting: tuple[str, str]  # reason and message of a waiting container
    running_since: datetime | None  # its container's start
    ended: Termination | None
    previous: Termination | None  # the container before a restart
    sources: tuple[str, ...]  # ConfigMaps, Secrets and claims that it mounts
    index: int | None = None  # its number in an Indexed Job
    worker: int = 0  # its number in the site's pool: counted through the slices of a JobSet

    @property
    def finished(self) -> bool:
        """Whether it will never run again."""
        return self.phase in ("Succeeded", "Failed")

    @classmethod
    def of(cls, body: JsonView) -> "PodView":
        """From the API's JSON."""
        label, container = labels(body), _current(body)
        created = _time(dig(body, "metadata", "creationTimestamp")) or _EPOCH
        placed, ready = condition(body, "PodScheduled"), condition(body, "Ready")
        waiting = dig(container, "state", "waiting") or {}
        index = _index(body)
        return cls(
            name=dig(body, "metadata", "name") or "",
            role=label.get(names.LABEL_ROLE, ""),
            client=label.get(names.LABEL_CLIENT, ""),
            job=label.get(names.LABEL_JOBSET) or _owner(body, "Job"),
            phase=dig(body, "status", "phase") or "Pending",
            created=created,
            scheduled=_time(placed.get("lastTransitionTime")) if placed.get("status") == "True" else None,
            scheduling=(placed.get("reason") or "", placed.get("message") or "")
            if placed.get("status") == "False"
            else ("", ""),
            ready=ready.get("status") == "True",
            ready_since=_time(ready.get("lastTransitionTime")) if ready.get("status") == "True" else None,
            deleting=bool(dig(body, "metadata", "deletionTimestamp")),
            disrupted=condition(body, "DisruptionTarget").get("status") == "True",
            sandboxed=condition(body, "PodReadyToStartContainers").get("status") == "True",
            waiting=(waiting.get("reason") or "", waiting.get("message") or ""),
            running_since=_time(dig(container, "state", "running", "startedAt")),
            ended=Termination.of(container.get("state"), created),
            previous=Termination.of(container.get("lastState"), created),
            sources=tuple(_sources(dig(body, "spec", "volumes") or ())),
            index=index,
            worker=_slice(body) + (index or 0),
        )


def _current(body: JsonView) -> JsonView:
    """The container that tells how the pod is: the first one that has not ended well, of those that run one by one.

    A sidecar that a mesh injects among them (restartPolicy Always) runs beside the others and tells nothing.
    """
    first: Sequence[JsonView] = dig(body, "status", "initContainerStatuses") or ()
    last: Sequence[JsonView] = dig(body, "status", "containerStatuses") or ({},)
    made: Sequence[JsonView] = dig(body, "spec", "initContainers") or ()
    beside = {each.get("name") for each in made if each.get("restartPolicy") == "Always"}
    in_order = (each for each in first if each.get("name", "") not in beside)
    going = (each for each in in_order if dig(each, "state", "terminated", "exitCode") != 0)
    return next(going, last[0])


def _index(body: JsonView) -> int | None:
    annotations = dig(body, "metadata", "annotations") or {}
    text = labels(body).get(names.LABEL_COMPLETION_INDEX) or annotations.get(names.LABEL_COMPLETION_INDEX) or ""
    return int(text) if text.isdigit() else None


def _slice(body: JsonView) -> int:
    """Number of the first worker of the pod's slice; 0 without a JobSet."""
    hosts = (dig(body, "metadata", "annotations") or {}).get(names.ANNOTATION_SLICE_HOSTS) or ""
    number = labels(body).get(names.LABEL_JOBSET_INDEX) or ""
    return int(hosts) * int(number) if hosts.isdigit() and number.isdigit() else 0


def _owner(body: JsonView, kind: str) -> str:
    owners = dig(body, "metadata", "ownerReferences") or ()
    return next((str(owner["name"]) for owner in owners if owner.get("kind") == kind), "")


def _sources(volumes: Sequence[JsonView]) -> list[str]:
    found = []
    for volume in volumes:
        for kind, key, word in (
            ("configMap", "name", "ConfigMap"),
            ("secret", "secretName", "Secret"),
            ("persistentVolumeClaim", "claimName", "PersistentVolumeClaim"),
        ):
            name = dig(volume, kind, key)
            if name:
                found.append(f"{word} {name}")
    return found


def secrets_of(template: JsonView | None) -> tuple[str, ...]:
    """Names of the Secrets that a pod template mounts."""
    found = (dig(volume, "secret", "secretName") for volume in dig(template, "spec", "volumes") or ())
    return tuple(str(name) for name in found if name)


def _template(body: JsonView) -> JsonView | None:
    """The pod template of a Job, or of a JobSet's Jobs, which are alike."""
    first: JsonView = next(iter(dig(body, "spec", "replicatedJobs") or ()), {})
    found: JsonView | None = dig(body, "spec", "template") or dig(first, "template", "spec", "template")
    return found


@dataclass(frozen=True)
class JobView:
    """What decisions need to know of a Job or JobSet."""

    name: str
    role: str
    client: str
    suspended: bool
    complete: bool
    completed: datetime | None  # when it became so
    failed: bool
    failed_at: datetime | None
    message: str  # of the Failed condition
    queued: bool
    deleting: bool
    kind: str = "Job"
    secrets: tuple[str, ...] = ()  # that its pods mount
    step: str = ""  # with training.lifetime Round: the step of the plan that it was made for

    @property
    def key(self) -> Key:
        """What it is deleted by."""
        return Key(self.kind, self.name)

    @property
    def finished(self) -> bool:
        """Whether it will never run a pod again."""
        return self.complete or self.failed

    @property
    def running(self) -> bool:
        """Whether it may have a pod."""
        return not (self.finished or self.suspended)

    @classmethod
    def of(cls, body: JsonView) -> "JobView":
        """From the API's JSON."""
        label, failed, ended = labels(body), condition(body, "Failed"), condition(body, "Completed")  # a JobSet's word
        return cls(
            name=dig(body, "metadata", "name") or "",
            role=label.get(names.LABEL_ROLE, ""),
            client=label.get(names.LABEL_CLIENT, ""),
            suspended=bool(dig(body, "spec", "suspend")),
            complete="True" in (condition(body, "Complete").get("status"), ended.get("status")),
            completed=_time(dig(body, "status", "completionTime") or ended.get("lastTransitionTime")),
            failed=failed.get("status") == "True",
            failed_at=_time(failed.get("lastTransitionTime")) if failed.get("status") == "True" else None,
            message=failed.get("message") or "",
            queued=QUEUE_LABEL in label,
            deleting=bool(dig(body, "metadata", "deletionTimestamp")),
            kind=body.get("kind") or "Job",
            secrets=secrets_of(_template(body)),
            step=label.get(names.LABEL_STEP, ""),
        )
