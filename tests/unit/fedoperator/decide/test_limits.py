"""As many sites as a job can have: every object stays within what the API server takes; one more and the job is refused.

Sizes are those of JSON, which is larger than what etcd stores. Names are as long as they may be.
"""

import cProfile
import json

import pytest

from fedapi import names, outcome
from fedapi.crd.job_status import MAX_LISTED
from fedapi.wire.job import MAX_SITES, JobConfig, RosterEntry
from fedoperator.decide import accepted, sites
from fedoperator.decide.context import JobContext
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.desired import access
from fedoperator.desired.config import config_map
from fedoperator.desired.identity import Identity
from tests.unit.fedoperator import samples as s

CONFIG_MAP = 2**20  # bytes of all values together: the API server's own check
OBJECT = 3 * 2**19  # bytes of a request to etcd (--max-request-bytes)
REASON = max((*map(str, Reason), *(outcome.reason(code) for code in outcome.Exit)), key=len)
LONG = [f"s{number:06d}-".ljust(63, "x") for number in range(MAX_SITES)]


def _config(decision) -> str:
    return next(o["data"][names.CONFIG_FILE] for o in decision.objects if o["kind"] == "ConfigMap")


def test_the_configuration_fits_a_config_map():
    roster = tuple(RosterEntry(name=name, eligible=False, reason=REASON) for name in LONG)
    made = config_map(s.job(), roster)
    size = len(made["data"][names.CONFIG_FILE].encode())
    assert 0.8 * CONFIG_MAP < size < CONFIG_MAP - 2**16  # what is left holds the job's own settings many times over
    assert len(json.dumps(made)) < OBJECT
    assert JobConfig.model_validate_json(made["data"][names.CONFIG_FILE]).roster == roster


def test_the_role_with_every_sites_lease_fits_etcd():
    assert len(json.dumps(access.role(Identity("research", "j" * 52, s.UID), LONG))) < OBJECT


def test_labels_and_names_stay_within_their_limits():
    clients = tuple(s.site(name, pool={"workers": 2}) for name in LONG[:3])
    decision = decide(s.observe(s.job(meta={"name": "j" * 52}), clients), s.NOW)
    metadata = [o["metadata"] for o in decision.objects]
    assert {o["kind"] for o in decision.objects} >= {"Job", "Role", "Service", "NetworkPolicy", "PersistentVolumeClaim"}
    assert max(len(value) for each in metadata for value in each["labels"].values()) <= 63
    assert max(len(each["name"]) for each in (*metadata, *({"name": r.name} for r in decision.secrets))) <= 63


def test_status_lists_the_first_hundred_and_events_are_few():
    clients = tuple(s.site(name, status={"conditions": [s.not_ready()]}) for name in LONG[: 2 * MAX_LISTED])
    decision = decide(s.observe(clients=clients), s.NOW)
    assert len(decision.status["sites"]) == MAX_LISTED
    assert len(decision.events) <= MAX_LISTED + 10
    assert len(json.dumps(decision.status)) + MAX_LISTED * 1024 < OBJECT / 2  # the aggregator's leaves are as bounded


@pytest.mark.parametrize("entry", [RosterEntry(name="a"), RosterEntry(name="a", eligible=False, reason="Paused")])
def test_a_roster_comes_back_as_it_was(entry):
    config = JobConfig.model_validate_json(config_map(s.job(), (entry,))["data"][names.CONFIG_FILE])
    assert config.roster == (entry,)
    assert JobConfig.model_validate_json(config.canonical()).roster == (entry,)
    listed = config.model_dump() | {"roster": [entry.model_dump()]}  # the form of version 0.1
    assert JobConfig.model_validate(listed).roster == (entry,)


@pytest.fixture
def three(monkeypatch):
    """A job can have three sites."""
    for module in (accepted, sites):
        monkeypatch.setattr(module, "MAX_SITES", 3)


def test_one_too_many_and_nothing_is_made(three):
    three_sites, four = (tuple(s.site(name) for name in LONG[:count]) for count in (3, 4))
    assert s.condition(decide(s.observe(clients=three_sites), s.NOW), "Accepted")[0] == "True"
    decision = decide(s.observe(clients=four), s.NOW)
    assert (decision.objects, decision.secrets) == ((), ())
    value, reason, message = s.condition(decision, "Accepted")
    assert (value, reason) == ("False", Reason.TOO_MANY_SITES)
    assert message.startswith(
        "spec.clients.selector matches 4 FLClients, and a job takes at most 3: narrow the selector"
    )


def test_a_job_that_has_started_goes_on_with_its_oldest_sites(three):
    def at(name: str, day: int):
        client = s.site(name)
        meta = client.metadata.model_copy(update={"creation_timestamp": f"2026-11-{day:02d}T00:00:00Z"})
        return client.model_copy(update={"metadata": meta})

    clients = (at("a", 20), at("b", 10), at("c", 10), at("d", 11))
    decision = decide(s.observe(s.job({"startTime": s.ago(60)}), clients), s.NOW)
    assert s.condition(decision, "Accepted")[:2] == ("False", Reason.TOO_MANY_SITES)
    roster = JobConfig.model_validate_json(_config(decision)).roster
    assert [entry.name for entry in roster] == ["b", "c", "d"]


def _calls(count: int) -> int:
    """Calls of functions that a decision makes about a job whose sites all run."""
    clients = tuple(s.site(name) for name in LONG[:count])
    wanted = JobContext.of(s.observe(clients=clients), s.NOW).wanted
    children = {s.key(job): {**job, "spec": {**job["spec"], "suspend": False}} for job in wanted.values()}
    jobs = {client: job["metadata"]["name"] for client, job in wanted.items()}
    pods = tuple(s.running(names.ROLE_TRAINER, job, client, name=f"pod-{job}") for client, job in jobs.items())
    observed = s.observe(clients=clients, children=children, pods=pods)
    profile = cProfile.Profile()
    profile.runcall(decide, observed, s.NOW)
    return sum(entry.callcount for entry in profile.getstats())


def test_work_grows_with_the_sites_and_not_with_their_square():
    few, many = _calls(60), _calls(480)
    assert many < 12 * few  # 8 times is linear, 64 would be the square
