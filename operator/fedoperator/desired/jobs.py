"""What all Jobs share: the Job around a pod template, its name's hash, and who sets `suspend`.

What is said of Jobs here holds for JobSets too.

`suspend` and server-side apply: an applied Job never contains `suspend`, because a field that is applied once
and dropped later is reset. A Job that does not exist is therefore made by one plain create (POST, field manager
names.OPERATOR_MANAGER) of `created(manifest)`; a 409 means that somebody was faster and the next pass looks
again. Afterwards the manifest is server-side applied only where `differs` says so, and `suspend` is flipped by a
merge patch of that field alone (Decision.suspend). Create and merge patch are recorded as operation Update, the
apply as operation Apply: the apply neither owns nor drops `suspend`.
"""

import hashlib
import json
from collections.abc import Iterable

from fedapi import names, outcome
from fedapi.jsonvalue import Json, JsonView
from fedoperator.desired.identity import Identity
from fedoperator.desired.kinds import JOB_KINDS

TRAINER_CONTAINER = "trainer"
BACKOFF_UNLIMITED = 2**31 - 1  # the operator budgets a site's failures per round itself
INIT_BACKOFF = 3
# Worker 0 succeeds only when the whole site has finished: a worker that comes back later finds nobody to join.
_INDEXED: Json = {
    "completionMode": "Indexed",
    "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
}


def spec_hash(spec: JsonView) -> str:
    """8 hex digits of a Job's canonical spec: nearly all of it is immutable, so a change needs a new Job."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _exit_codes(action: str, codes: Iterable[int], container: str | None) -> Json:
    values = sorted(int(code) for code in codes)
    on = ({"containerName": container} if container else {}) | {"operator": "In", "values": values}
    return {"action": action, "onExitCodes": on}


def failure_policy(container: str | None = TRAINER_CONTAINER, fatal: Iterable[int] = outcome.FATAL) -> Json:
    """Of one container, or of all. Disruption, and a ring that others broke, are no failures; codes that running again cannot cure fail the Job."""
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            _exit_codes("Ignore", outcome.IGNORED, container),
            _exit_codes("FailJob", fatal, container),
        ]
    }


def job_spec(
    template: Json,
    backoff: int,
    pods: int = 1,
    container: str | None = TRAINER_CONTAINER,
    fatal: Iterable[int] = outcome.FATAL,
) -> Json:
    """A Job of `pods` pods that run side by side, with numbers when there are several."""
    template = template | {"spec": template["spec"] | {"restartPolicy": "Never", "automountServiceAccountToken": False}}
    spec = {
        "completions": pods,
        "parallelism": pods,
        "backoffLimit": backoff,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": failure_policy(container, fatal),
        "template": template,
    }
    return spec | (_INDEXED if pods > 1 else {})


def job(identity: Identity, role: str, name: str, spec: Json, client: str = "") -> Json:
    """The Job around `spec`."""
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": identity.metadata(name, role, client), "spec": spec}


def created(manifest: JsonView) -> Json:
    """What to POST for an object that does not exist: Jobs start suspended, everything else as it is."""
    body = dict(manifest)
    if manifest["kind"] in JOB_KINDS:
        body["spec"] = dict(manifest["spec"]) | {"suspend": True}
    return body


def belongs_to_queue(live: JsonView) -> bool:
    """Whether a live Job is a queue's, which adds node labels and tolerations to it: it is never applied again."""
    return live["kind"] in JOB_KINDS and names.LABEL_QUEUE in (live["metadata"].get("labels") or {})
