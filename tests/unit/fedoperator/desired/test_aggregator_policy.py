"""Who may connect to an aggregator."""

import pytest

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.aggregator_policy import aggregator_policy
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import init_job
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

JOB, LATER = s.job(), s.job(meta={"uid": "another"})
SPEC = aggregator_policy(Identity.of(JOB))["spec"]


def _selected(selector: Json, labels: Json) -> bool:
    """Whether a label selector of the forms that the policy uses takes a pod, or a namespace."""
    wanted = [e for e in selector.get("matchExpressions", ()) if e["operator"] == "In"]
    assert len(wanted) == len(selector.get("matchExpressions", ()))
    plain = selector.get("matchLabels", {}).items() <= labels.items()
    return plain and all(labels.get(e["key"]) in e["values"] for e in wanted)


def _labels(manifest: Json) -> Json:
    found: Json = m.template(manifest)["metadata"]["labels"]
    return found


def _ports_open_to(pod: Json, namespace: Json | None = None) -> list[int]:
    """`namespace`: labels of the pod's, where that is not the job's own."""
    peers = {"podSelector": pod} if namespace is None else {"namespaceSelector": namespace}
    return [
        port["port"]
        for rule in SPEC["ingress"]
        for peer in rule["from"]
        if set(peer) == set(peers) and all(_selected(peer[key], labels) for key, labels in peers.items())
        for port in rule["ports"]
    ]


def test_it_is_about_this_jobs_aggregator():
    ours, theirs = (_labels(deployment(job, "img", "Never", m.DOMAIN, 1)) for job in (JOB, LATER))
    assert SPEC["policyTypes"] == ["Ingress"]
    assert [_selected(SPEC["podSelector"], labels) for labels in (ours, theirs)] == [True, False]
    assert not any(_selected(SPEC["podSelector"], _labels(made)) for made in m.pods()[:2])


@pytest.mark.parametrize(
    ("pod", "ports"),
    [
        (_labels(training_job(JOB, s.site("a"), m.DOMAIN)), [names.AGGREGATOR_PORT]),
        (_labels(init_job(JOB, m.HUB, m.DOMAIN)), [names.AGGREGATOR_PORT]),
        (_labels(training_job(LATER, s.site("a"), m.DOMAIN)), []),
        (_labels(deployment(JOB, "img", "Never", m.DOMAIN, 1)), []),
        ({"app": "notebook"}, []),
    ],
    ids=["training", "init", "of a predecessor", "of another role", "somebody else's"],
)
def test_sites_reach_their_port_and_no_other(pod, ports):
    assert _ports_open_to(pod) == ports


@pytest.mark.parametrize(
    ("namespace", "ports"), [({names.LABEL_MONITORING: "true"}, [names.AGGREGATOR_MONITORING_PORT]), ({}, [])]
)
def test_of_other_namespaces_only_monitoring_gets_in(namespace, ports):
    assert _ports_open_to(_labels(training_job(JOB, s.site("a"), m.DOMAIN)), namespace) == ports
