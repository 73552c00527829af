"""Whose a live object is, and what others set in one that is wholly ours."""

import copy

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.desired.kinds import BY_KIND
from fedoperator.desired.ownership import Standing, standing
from fedoperator.desired.takeback import taken_back
from tests.unit.fedoperator import samples as s

WANTED = {s.key(o): o for o in decide(s.observe(), s.NOW).objects}
SERVICE = WANTED[Key("Service", "heart-aggregator")]
CLAIM = next(o for key, o in WANTED.items() if key.kind == "PersistentVolumeClaim")
OURS, OLD, FOREIGN = Standing.OURS, Standing.PREDECESSORS, Standing.FOREIGN
OWNER = SERVICE["metadata"]["ownerReferences"][0]
LABELS = SERVICE["metadata"]["labels"]
REPLICA_SET = OWNER | {"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "r"}
TABLE = {
    "as it was made": (LABELS, OWNER, OURS),
    "no labels": ({}, OWNER, OURS),
    "labels of another uid, ours by its controller": (LABELS | {names.LABEL_JOB_UID: "x"}, OWNER, OURS),
    "orphaned, with our uid": (LABELS, None, OURS),
    "orphaned, without managed-by": ({names.LABEL_JOB_UID: s.UID}, None, OURS),
    "nothing of ours": ({"app": "theirs"}, None, FOREIGN),
    "managed-by alone": ({names.LABEL_MANAGED_BY: names.MANAGED_BY}, None, FOREIGN),
    "our labels but for the uid": ({k: v for k, v in LABELS.items() if k != names.LABEL_JOB_UID}, None, FOREIGN),
    "a predecessor's": (LABELS | {names.LABEL_JOB_UID: "x"}, OWNER | {"uid": "x"}, OLD),
    "a predecessor's orphan": (LABELS | {names.LABEL_JOB_UID: "x"}, None, OLD),
    "another job's": (LABELS | {names.LABEL_JOB: "lung", names.LABEL_JOB_UID: "x"}, OWNER | {"name": "lung", "uid": "x"}, FOREIGN),
    "our labels on somebody else's": (LABELS, REPLICA_SET, FOREIGN),
    "old labels on somebody else's": (LABELS | {names.LABEL_JOB_UID: "x"}, REPLICA_SET, FOREIGN),
    "a FederatedJob of another group": (LABELS, OWNER | {"apiVersion": "example.com/v1", "uid": "x"}, FOREIGN),
}  # fmt: skip


def _with(labels, owner):
    return {"kind": "Service", "metadata": {"labels": labels, "ownerReferences": [owner] if owner else []}}


@pytest.mark.parametrize(("labels", "owner", "whose"), TABLE.values(), ids=TABLE)
def test_whose(labels, owner, whose):
    assert standing(SERVICE, _with(labels, owner)) is whose


def test_a_claim_that_somebody_restored_under_its_name_is_ours():
    assert standing(CLAIM, _with({}, None)) is OURS
    assert standing(CLAIM, _with({}, REPLICA_SET)) is FOREIGN


def _managed(kind: str, fields: dict, change, *, manager: str = "somebody", **entry: str):
    """A live object in which a manager set fields."""
    wanted = WANTED[Key(kind, "heart-aggregator")]
    live = copy.deepcopy(dict(wanted))
    change(live)
    ours = {"manager": names.OPERATOR_MANAGER, "operation": "Apply", "fieldsV1": {"f:metadata": {"f:labels": {}}}}
    theirs = {"manager": manager, "operation": "Update", "fieldsV1": fields} | entry
    live["metadata"]["managedFields"] = [ours, theirs]
    return taken_back(wanted, live)


def test_an_addition_is_removed_and_nothing_else():
    fields = {"f:data": {"f:theirs": {}}, "f:metadata": {"f:labels": {"f:theirs": {}}}}
    found = _managed("ConfigMap", fields, lambda live: live["data"].update(theirs="x"))
    assert found.patch == {"data": {"theirs": None}}
    assert found.told("ConfigMap", "c") == "ConfigMap c: took back data.theirs, set by somebody"


def test_what_was_changed_is_applied_again():
    found = _managed("Service", {"f:spec": {"f:selector": {}}}, lambda live: live["spec"]["selector"].update(x="y"))
    assert (found.patch, found.fields) == ({}, ("spec.selector",))


@pytest.mark.parametrize(
    "entry", [{"subresource": "status"}, {"subresource": "scale"}, {"manager": names.OPERATOR_MANAGER}]
)
def test_entries_that_say_nothing_about_others(entry):
    fields = {"f:spec": {"f:paused": {}, "f:replicas": {}}}
    more = {"manager": "somebody"} | entry
    assert _managed("Deployment", fields, lambda live: live["spec"].update(paused=True), **more) is None


def test_fields_without_a_manager_are_the_servers_or_a_webhooks():
    def change(live):
        live["spec"]["progressDeadlineSeconds"] = 600
        live["spec"]["template"]["spec"]["containers"].append({"name": "injected"})

    assert _managed("Deployment", {"f:metadata": {}}, change) is None


def test_claims_and_jobs_are_not_wholly_ours():
    left = {"PersistentVolumeClaim", "Job", "JobSet", "Lease", "Secret"}
    assert not any(BY_KIND[kind].wholly_ours for kind in left)
