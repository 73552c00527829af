"""What a state says in the job's status."""

import pytest

from fedaggregator.status import status
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.wire.metrics import MAX_METRIC
from fedcore.rounds import committing, machine
from fedcore.rounds.events import Heard, Refused
from fedcore.rounds.participation import Participation
from tests.unit.fedcore.rounds import test_round_rules as rules
from tests.unit.fedcore.rounds.encrypted_round import EncryptedFederation


def test_status_while_collecting():
    state, _ = rules.accept(rules.collecting("abc", quorum=1, rounds=7, store_uri="volume://claim"), "b")
    state, _ = machine.step(state, Refused(22.0, "c", "WrongDigest", "no"))
    shown = status(state)
    FederatedJobStatus.model_validate(shown)
    assert shown["participants"] == "1/3"
    assert shown["round"] == {
        "current": 1, "total": 7, "attempt": 1, "lastFailure": "", "startTime": "1970-01-01T00:00:10Z", "deadline": "1970-01-01T00:01:50Z",
        "step": "Train", "selected": ["a", "b", "c"], "accepted": 1, "committed": 0, "progress": "0/7",
    }  # fmt: skip
    assert [(c["name"], c["state"], c["failures"]) for c in shown["clients"]] == [
        ("c", "Training", 1), ("a", "Training", 0), ("b", "Accepted", 0),
    ]  # fmt: skip
    assert shown["model"] == {"uri": "volume://claim/" + rules.ref(rules.A).key, "sha256": rules.A, "round": 0}
    assert "outcome" not in shown
    assert "headlineMetric" not in shown


def test_a_step_that_no_time_ends_has_no_deadline():
    """While the hub adds up encrypted updates."""
    federation = EncryptedFederation(held=[]).start()
    while not federation.held:
        for name in "abcde":
            federation.go_on(name)
    shown = status(federation.state)["round"]
    assert shown["exchange"] == "Open"
    assert "deadline" not in shown


def test_status_at_the_end():
    state = rules.collecting(rounds=1)
    for client, accuracy in (("a", 0.1), ("b", 0.3)):
        state, _ = rules.evaluated(state, client, 0, rules.A, accuracy)
        state, _ = rules.accept(state, client)
    state, _ = machine.step(state, rules.Folded(40.0, 1, 1, rules.ref(rules.B)))
    assert status(state)["headlineMetric"] == "accuracy 0.20"
    for client in "ab":
        state, _ = rules.evaluated(state, client, 1, rules.B, 0.7901)
    shown = status(state)
    assert shown["outcome"]["reason"] == "RoundsCompleted"
    assert shown["participants"] == "2/2"
    assert shown["headlineMetric"] == "accuracy 0.79"
    assert shown["metrics"] == [{"name": "accuracy", "value": "0.7901", "round": 1}]
    assert shown["bestRound"] == {"round": 1, "metric": "accuracy", "value": "0.7901"}
    assert shown["round"]["progress"] == "1/1"


@pytest.mark.parametrize(
    ("value", "shown", "exact"),
    [
        (0.7901, "0.79", "0.7901"),
        (123456.789, "123456.79", "123457"),
        (MAX_METRIC, "1.00e+100", "9.99999e99"),
        (-MAX_METRIC, "-1.00e+100", "-9.99999e99"),
        (-1e99, "-1.00e+99", "-1e99"),
        (9.9999999e99, "1.00e+100", "9.99999e99"),
        (1e-99, "0.00", "1e-99"),
        (1e-100, "0.00", "0"),
        (-5e-324, "-0.00", "0"),
    ],
)
def test_any_metric_that_a_site_may_send_can_be_shown(value, shown, exact):
    """The status that cannot be told ends the process."""
    state, _ = rules.evaluated(rules.collecting(), "a", 0, rules.A, value)
    state, _ = rules.evaluated(state, "b", 0, rules.A, value)
    told = status(state)
    FederatedJobStatus.model_validate(told)
    assert told["headlineMetric"] == f"accuracy {shown}"
    assert told["metrics"] == [{"name": "accuracy", "value": exact, "round": 0}]
    assert told["bestRound"]["value"] == exact


def test_status_lists_at_most_100_clients_failing_first():
    clients = [f"s{i:03d}" for i in range(150)]
    state = rules.collecting(clients)
    state, _ = machine.step(state, Heard(11.0, ("s140",)))
    state, _ = machine.step(state, Refused(11.0, "s149", "WrongDigest", "no"))
    shown = status(state)
    assert len(shown["clients"]) == 100
    assert shown["clients"][0]["name"] == "s149"
    assert len(shown["round"]["selected"]) == 100


def test_participation_names_those_that_were_selected_last_however_many_sites_there_are():
    clients = [f"s{i:04d}" for i in range(1200)]
    state = rules.collecting(clients)
    assert [each["name"] for each in status(state)["participation"]] == clients[:1000]
    parts = {"s1199": Participation(2, 1, last_round=1, missed_round=3), "s1100": Participation(1, 1, last_round=2)}
    shown = status(committing.with_part(state, parts))
    FederatedJobStatus.model_validate(shown)
    assert len(shown["participation"]) == 1000
    assert shown["participation"][:3] == [
        {"name": "s1199", "selected": 2, "accepted": 1, "lastRound": 1},
        {"name": "s1100", "selected": 1, "accepted": 1, "lastRound": 2},
        {"name": "s0000", "selected": 0, "accepted": 0, "lastRound": 0},
    ]
