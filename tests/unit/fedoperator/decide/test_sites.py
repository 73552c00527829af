"""Policy sites: which sites a selector matches."""

import pytest

from fedapi.crd.clients import Selector
from fedoperator.decide import sites
from fedoperator.decide.sites import matches
from tests.unit.fedoperator import samples as s


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ({}, {}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "1", "b": "2"}, True),
        ({"matchLabels": {"a": "1"}}, {"a": "2"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1", "2"]}]}, {"a": "2"}, True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {}, False),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {"a": "1"}, False),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": ""}, True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": ""}, False),
        ({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]}, {"a": "1"}, False),
    ],
)
def test_selector_follows_kubernetes(selector, labels, expected):
    assert matches(Selector.model_validate(selector), labels) is expected


def test_a_held_out_site_belongs_to_the_job_whatever_the_clients_selector_says():
    clients = (
        s.site("a", {"team": "x"}),
        s.site("b", {"team": "x", "role": "v"}),
        s.site("c", {"role": "v"}),
        s.site("d"),
    )
    job = s.job(
        clients={"selector": {"matchLabels": {"team": "x"}}},
        evaluation={"heldOut": {"selector": {"matchLabels": {"role": "v"}}}},
    )
    observed = s.observe(job, clients=clients)
    assert [(site.name, site.held_out) for site in sites.sites(observed)] == [("a", False), ("b", True), ("c", True)]
    assert [site.name for site in sites.trainees(observed)] == ["a"]
