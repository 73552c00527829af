"""Who may connect to a ring's pods."""

from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

SITE = s.site("a", pool={"workers": 2})


def test_the_rings_own_pods_on_any_port_and_nobody_else():
    policy = ring_policy(s.job(), SITE)
    assert policy is not None
    ring = policy["spec"]["podSelector"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": ring}]}]
    found = [
        ring["matchLabels"].items() <= m.template(training_job(job, site, m.DOMAIN))["metadata"]["labels"].items()
        for job, site in (
            (s.job(), SITE),
            (s.job(), s.site("b", pool={"workers": 2})),
            (s.job(meta={"uid": "x"}), SITE),
        )
    ]
    assert found == [True, False, False], "neither another site's nor a predecessor's"
