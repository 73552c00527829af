"""Policy refused: a name that is somebody else's, and objects that the API server does not take."""

import pytest

from fedoperator.decide.decision import Key, Refused
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from tests.unit.fedoperator import samples as s

SERVICE, LEASE_RIGHTS = Key("Service", "heart-aggregator"), Key("Role", "heart-aggregator")


def _decided(*refused: Refused, ready: bool = True):
    lacking = {each.key for each in refused if each.key.kind == "Job"}
    children = {key: o for key, o in s.live_children(s.observe(), ready=ready).items() if key not in lacking}
    return decide(s.observe(s.job(s.in_round(berlin="Training")), children=children, refused=refused), s.NOW)


def _replicas(decision) -> list[int]:
    return [o["spec"]["replicas"] for o in decision.objects if o["kind"] == "Deployment"]


@pytest.mark.parametrize("ready", [True, False])
def test_beside_a_foreign_object_no_aggregator_runs(ready):
    decision = _decided(Refused(SERVICE, "Service heart-aggregator is theirs", foreign=True), ready=ready)
    assert _replicas(decision) == [0]
    for type_ in ("AggregatorReady", "Progressing", "ObjectsApplied"):
        assert s.condition(decision, type_) == ("False", Reason.FOREIGN_OBJECT, "Service heart-aggregator is theirs")


@pytest.mark.parametrize("ready", [True, False])
@pytest.mark.parametrize("kind", ["CronJob", "ServiceAccount"])
def test_what_only_backups_need_stops_no_training(kind, ready):
    name = "heart-backup" if kind == "CronJob" else "heart-fedloom-backup"
    decision = _decided(Refused(Key(kind, name), f"{kind} {name} is theirs", foreign=True), ready=ready)
    assert _replicas(decision) == [1]
    assert s.condition(decision, "ObjectsApplied")[:2] == ("False", Reason.FOREIGN_OBJECT)
    assert s.condition(decision, "AggregatorReady")[1] != Reason.FOREIGN_OBJECT


@pytest.mark.parametrize(("ready", "progressing"), [(True, "True"), (False, "False")])
def test_what_the_api_server_refuses_holds_a_job_up_while_its_aggregator_is_not_ready(ready, progressing):
    decision = _decided(Refused(LEASE_RIGHTS, "Role heart-aggregator was refused: quota"), ready=ready)
    assert _replicas(decision) == [1]
    assert s.condition(decision, "Progressing")[0] == s.condition(decision, "AggregatorReady")[0] == progressing
    assert s.condition(decision, "ObjectsApplied")[:2] == ("False", Reason.OBJECT_REFUSED)
    if not ready:
        assert s.condition(decision, "Progressing")[1] == Reason.OBJECT_REFUSED


def test_a_training_job_that_is_refused_is_its_sites_trouble():
    key = Key("Job", s.job_name(s.observe(), "berlin"))
    decision = _decided(Refused(key, "Job heart-berlin was refused: priorityClassName"))
    assert s.site_reasons(decision)["berlin"] == Reason.OBJECT_REFUSED
    assert s.site_messages(decision)["berlin"] == "Job heart-berlin was refused: priorityClassName"
    assert s.site_reasons(decision)["lyon"] != Reason.OBJECT_REFUSED
    assert s.condition(decision, "AggregatorReady")[0] == "True"


def test_all_are_told_the_foreign_ones_first_and_without_any_there_is_no_condition():
    refused = Refused(LEASE_RIGHTS, "the Role was refused"), Refused(SERVICE, "the Service is theirs", foreign=True)
    assert s.condition(_decided(*refused), "ObjectsApplied")[1:] == (
        Reason.FOREIGN_OBJECT, "the Service is theirs; the Role was refused",
    )  # fmt: skip
    assert "ObjectsApplied" not in {condition["type"] for condition in _decided().status["conditions"]}
