"""Whose a live object is."""

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.desired.ownership import Standing, standing
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
