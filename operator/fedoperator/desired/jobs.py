"""What init and training Jobs share: the Job around a pod template, its name's hash, and who sets `suspend`.

`suspend` and server-side apply: an applied Job never contains `suspend`, because a field that is applied once
and dropped later is reset. A Job that does not exist is therefore made by one plain create (POST, field manager
names.OPERATOR_MANAGER) of `created(manifest)`; a 409 means that somebody was faster and the next pass looks
again. Afterwards the manifest is server-side applied only where `differs` says so, and `suspend` is flipped by a
merge patch of that field alone (Decision.suspend). Create and merge patch are recorded as operation Update, the
apply as operation Apply: the apply neither owns nor drops `suspend`.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from fedapi import names, outcome
from fedoperator.desired.identity import Identity, Json

TRAINER_CONTAINER = "trainer"
BACKOFF_UNLIMITED = 2**31 - 1  # the operator budgets a site's failures per round itself
INIT_BACKOFF = 3


def template_hash(template: Mapping[str, Any]) -> str:
    """8 hex digits of a pod template's canonical JSON: a Job's template is immutable, a change needs a new Job."""
    text = json.dumps(template, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def failure_policy() -> Json:
    """Disruption is no failure; exit codes that running again cannot cure fail the Job at once."""
    fatal = {
        "containerName": TRAINER_CONTAINER,
        "operator": "In",
        "values": sorted(int(code) for code in outcome.FATAL),
    }
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": fatal},
        ]
    }


def job(
    identity: Identity, role: str, name_of: Callable[[str], str], template: Json, backoff: int, client: str = ""
) -> Json:
    """A Job with one pod at a time around `template`; `name_of` makes its name from the template's hash."""
    template = template | {"spec": template["spec"] | {"restartPolicy": "Never", "automountServiceAccountToken": False}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": identity.metadata(name_of(template_hash(template)), role, client),
        "spec": {
            "completions": 1,
            "parallelism": 1,
            "backoffLimit": backoff,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": failure_policy(),
            "template": template,
        },
    }


def created(manifest: Mapping[str, Any]) -> Json:
    """What to POST for an object that does not exist: training Jobs start suspended, everything else as it is."""
    labels = manifest["metadata"].get("labels", {})
    body = dict(manifest)
    if manifest["kind"] == "Job" and labels.get(names.LABEL_ROLE) == names.ROLE_TRAINER:
        body["spec"] = dict(manifest["spec"]) | {"suspend": True}
    return body
