"""What others set in an object that is wholly ours."""

import copy

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.job import decide
from fedoperator.desired.takeback import taken_back
from tests.unit.fedoperator import samples as s

WANTED = {s.key(o): o for o in decide(s.observe(), s.NOW).objects}


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
