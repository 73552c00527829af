"""What a finished local run says: of how to get its model, of what it has told of sites and records, and of who has no part in it."""

from pathlib import Path

import pytest

from fedcli.privacytext import spent
from fedcli.summary import how_to_pull, without_update
from fedlocal.statefolder import StateFolder

STATE = StateFolder(Path("runs/hearts"))


@pytest.mark.parametrize(
    ("spec", "gate"), [({}, ""), ({"release": {"required": 1}}, ", once it is approved: fedloom model approve")]
)
def test_a_model_that_has_to_be_approved_is_not_offered_at_once(spec, gate):
    job = {"metadata": {"name": "hearts"}, "spec": spec}
    assert how_to_pull(job, Path("runs")) == f"fedloom model pull hearts --workdir runs{gate}"


def of(state="Idle", reason="", message="", **client):
    """The lines about one site, `north`."""
    status = {
        "clients": [{"name": "north", "state": state, **client}],
        "sites": [{"name": "north", "reason": reason, "message": message}],
    }
    return list(without_update({"status": status}, STATE))


def test_who_has_no_update_is_told_with_the_reason():
    logs = f"no update of theirs is in the model: north; logs: {STATE.logs}"
    assert of(rounds=1, selected=1) == []
    assert of(state="HeldOut") == []
    assert of(selected=1) == [logs]
    assert of(state="Failed", failures=1) == [logs]
    assert of() == of(reason="NotSelected") == ["never drawn: north"]
    for state in ("Idle", "Waiting"):
        assert of(state, "NotPrivate", "it demands noise") == ["left out: north: NotPrivate: it demands noise"]
        assert of(state, "Paused", "the site is paused") == ["left out: north: Paused: the site is paused"]


def test_of_many_that_are_left_out_some_are_named():
    sites = [{"name": f"s{n:02}", "reason": "NotEnrolled", "message": "no key"} for n in range(12)]
    clients = [{"name": each["name"], "state": "Waiting"} for each in sites]
    lines = list(without_update({"status": {"clients": clients, "sites": sites}}, STATE))
    assert lines[0] == "left out: s00: NotEnrolled: no key"
    assert lines[10:] == ["left out: 2 more"]


def test_what_is_told_of_sites_and_of_records_is_said():
    told = {"unit": "Site", "epsilon": "1.5000", "delta": "1e-5"}
    record = {"unit": "Record", "epsilon": "2.9000", "delta": "0.001", "targetEpsilon": "3", "site": "north"}
    assert list(spent({"privacy": told, "recordPrivacy": record})) == [
        "epsilon 1.5000 (of one site, delta 1e-5)",
        "epsilon 2.9000 of targetEpsilon 3 (of one record, delta 0.001)",
    ]
    assert list(spent({})) == []
