"""The aggregator's Deployment."""

import pytest

from fedapi import names
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.init_job import init_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def test_of_the_hubs_variables_only_those_of_the_list_reach_it():
    """An object may be older than the rule that refuses the others."""
    allowed = names.HUB_ENV[-20:]  # a list has at most 32 entries
    asked = [{"name": name, "value": "/x"} for name in (*allowed, "PYTHONPATH", "LD_PRELOAD", "fedloom_store")]
    plain, asking = (
        m.env(deployment(s.job(aggregator={"podTemplate": {"env": env}}), "img", "Never", m.DOMAIN, 1))
        for env in ([], asked)
    )
    assert set(asking) - set(plain) == set(allowed)


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        (None, "1Gi"),
        ({"requests": {"cpu": "2"}}, "1Gi"),
        ({"requests": {"memory": "512Mi"}}, "1Gi"),
        ({"requests": {"memory": "4Gi"}}, "4Gi"),
        ({"limits": {"memory": "300Mi"}}, "300Mi"),
        ({"limits": {"cpu": "1"}}, "1Gi"),
    ],
)
def test_an_aggregator_always_has_a_memory_limit_and_its_init_job_none_by_default(asked, limit):
    job = s.job(aggregator={"resources": asked} if asked else {})
    assert m.container(deployment(job, "img", "Never", m.DOMAIN, 1))["resources"]["limits"]["memory"] == limit
    if asked is None:
        assert "limits" not in m.container(init_job(job, m.HUB, m.DOMAIN))["resources"]
