"""The table of children: a new kind in a new role is a builder, a policy and a row, and nothing else.

The row here is a PodDisruptionBudget of role budget, which the operator does not have (yet).
"""

from dataclasses import replace

import pytest

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.apply import Applier
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.observe import Observer
from fedoperator.cluster.writes import Writer
from fedoperator.decide import children
from fedoperator.decide.children import Child
from fedoperator.decide.decision import Decision, Key
from fedoperator.decide.job import decide
from fedoperator.desired.kinds import BY_KIND, TABLE, Kind
from fedoperator.handlers.routing import keys_of
from fedoperator.handlers.runtime import streams
from fedoperator.queueing import WorkKey
from fedoperator.refusals import Refusals
from tests.unit.fedoperator import samples as s

BUDGET = "budget"
DISRUPTION_BUDGET = Kind(
    "PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets", workload=True, wholly_ours=("spec",)
)
KEY = Key("PodDisruptionBudget", "heart-budget")
PATH = "/apis/policy/v1/namespaces/research/poddisruptionbudgets/heart-budget"


def budgets(context) -> tuple[Json, ...]:
    """The policy, and the builder in it: a budget while the job is not suspended."""
    if context.spec.suspend:
        return ()
    metadata = context.identity.metadata(KEY.name, BUDGET)
    return (
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": {"maxUnavailable": 0}},
    )


class Server:
    """Takes every write and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def request(self, method: str, path: str, body: Json | None = None, **_: object) -> Json:
        self.asked.append((method, path))
        if method == "DELETE":
            return {}
        return {**(body or {}), "metadata": {**body["metadata"], "uid": "u", "resourceVersion": "2"}}


class NoSecrets:
    """Every Secret is there."""

    def known(self, uid: str) -> frozenset[str]:
        del uid
        return frozenset()


@pytest.fixture(autouse=True)
def row(monkeypatch):
    monkeypatch.setitem(BY_KIND, "PodDisruptionBudget", DISRUPTION_BUDGET)
    monkeypatch.setattr(children, "TABLE", (*children.TABLE, Child("PodDisruptionBudget", BUDGET, budgets)))


def carried_out(decision: Decision, server: Server, cache: Cache) -> None:
    about = s.job().model_dump(by_alias=True) | {"kind": "FederatedJob", "apiVersion": names.API_VERSION}
    about["metadata"]["creationTimestamp"] = s.ago(60)
    applier = Applier(Writer(server, cache, lambda *_: None, "operator-0"), NoSecrets(), Refusals())
    only = replace(
        decision, secrets=(), objects=tuple(o for o in decision.objects if o["kind"] == "PodDisruptionBudget")
    )
    applier.apply(about, only, lambda key: cache.get(key.kind, "research", key.name))


def test_it_is_applied_once_observed_and_pruned():
    server, cache = Server(), Cache()
    first = decide(s.observe(), s.NOW)
    carried_out(first, server, cache)
    assert server.asked == [("PATCH", PATH)]
    body = {"metadata": {"name": "heart", "namespace": "research", "uid": s.UID}, "spec": s.job().spec.dump()}
    observed = Observer(cache, s.SETTINGS).job(body, frozenset())
    assert KEY in observed.children
    carried_out(decide(replace(s.observe(), children=observed.children), s.NOW), server, cache)
    assert server.asked == [("PATCH", PATH)], "nothing differs, nothing is written"

    suspended = replace(s.observe(s.job(suspend=True)), children=observed.children)
    decision = decide(suspended, s.NOW)
    assert decision.delete == (KEY,)
    carried_out(decision, server, cache)
    assert server.asked[1:] == [("DELETE", PATH)]
    assert cache.get("PodDisruptionBudget", "research", KEY.name) is None


def test_it_is_watched_and_its_events_lead_to_its_job():
    body = budget_of(s.observe())
    assert [str(stream.kind) for stream in streams((), (*TABLE, DISRUPTION_BUDGET))][-1] == "PodDisruptionBudget"
    assert list(keys_of(body, Cache())) == [WorkKey("research", "FederatedJob", "heart")]


def budget_of(observed) -> Json:
    return dict(next(o for o in decide(observed, s.NOW).objects if o["kind"] == "PodDisruptionBudget"))


def test_somebody_elses_is_left_alone_and_a_predecessors_is_replaced():
    made = budget_of(s.observe())
    others = {**made, "metadata": {"name": KEY.name, "namespace": "research"}}
    assert KEY not in decide(s.observe(children={KEY: others}), s.NOW).delete
    old = {"metadata": {**made["metadata"], "labels": {**made["metadata"]["labels"], names.LABEL_JOB_UID: "older"}}}
    old["metadata"]["ownerReferences"] = [{**made["metadata"]["ownerReferences"][0], "uid": "older"}]
    decision = decide(s.observe(children={KEY: {**made, **old}}), s.NOW)
    assert KEY in decision.delete
    assert KEY not in {s.key(o) for o in decision.objects}


JOB_OF_IT = {
    "kind": "Job",
    "metadata": {
        "name": "heart-budget-1",
        "namespace": "research",
        "labels": {names.LABEL_JOB: "heart", names.LABEL_JOB_UID: s.UID, names.LABEL_ROLE: BUDGET},
    },
    "spec": {"suspend": False},
    "status": {"startTime": s.ago(3600)},
}


@pytest.mark.parametrize("owners", [[], [{"kind": "FederatedJob", "name": "heart", "uid": s.UID, "controller": True}]])
@pytest.mark.parametrize(
    "job",
    [
        s.job(),
        s.job(suspend=True),
        s.job(s.in_round()),
        s.job({"outcome": {"result": "Succeeded", "reason": "Completed", "message": "", "time": s.ago(600)}}),
    ],
    ids=["starting", "suspended", "in a round", "ended"],
)
def test_jobs_and_pods_in_a_role_that_no_policy_knows_are_let_be(job, owners):
    """Before roles decided, every Job with the job's uid was suspended with it and waited for."""
    bare = s.observe(job, children=s.live_children(s.observe()))
    own = {**JOB_OF_IT, "metadata": {**JOB_OF_IT["metadata"], "ownerReferences": owners}}
    pod = s.pod(BUDGET, "heart-budget-1", phase="Pending", created_s_ago=86400)
    more = replace(bare, children={**bare.children, Key("Job", "heart-budget-1"): own}, pods=(pod,))
    assert decide(more, s.NOW) == decide(bare, s.NOW)


def test_what_kubectl_expose_makes_is_a_persons():
    """It copies the labels of the Deployment to a Service; without our owner reference that is not the job's."""
    service = next(o for o in decide(s.observe(), s.NOW).objects if o["kind"] == "Service")
    exposed = {**service, "metadata": {**service["metadata"], "name": "by-hand", "ownerReferences": []}}
    key = Key("Service", "by-hand")
    assert key not in decide(s.observe(children={key: exposed}), s.NOW).delete
    exposed["metadata"]["ownerReferences"] = service["metadata"]["ownerReferences"]
    assert key in decide(s.observe(children={key: exposed}), s.NOW).delete


def test_every_row_is_of_a_known_kind_and_no_two_are_the_same():
    rows = [(child.kind, child.role) for child in children.TABLE]
    assert {kind for kind, _ in rows} <= BY_KIND.keys()
    assert len(set(rows)) == len(rows)


def test_children_of_a_deleted_namesake_are_removed_first():
    children = s.live_children(s.observe())
    service = children[Key("Service", "heart-aggregator")]
    service["metadata"]["labels"][names.LABEL_JOB_UID] = "older"
    service["metadata"]["ownerReferences"][0]["uid"] = "older"
    decision = decide(s.observe(s.job(s.STARTED), children=children), s.NOW)
    assert decision.delete == (Key("Service", "heart-aggregator"),)
    assert "Service" not in {o["kind"] for o in decision.objects}


def test_secrets_are_asked_for_until_they_exist():
    wanted = decide(s.observe(), s.NOW).secrets
    assert [(r.kind, r.client) for r in wanted] == [
        ("Aggregator", ""),
        ("Init", ""),
        ("Site", "berlin"),
        ("Site", "lyon"),
    ]
    assert wanted[0].hosts[-1] == "heart-aggregator.research.svc.cluster.local"
    assert decide(s.observe(secrets=frozenset(r.name for r in wanted)), s.NOW).secrets == ()
