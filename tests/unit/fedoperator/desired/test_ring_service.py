"""Names of a ring's pods."""

from fedapi import names
from fedoperator.desired.ring_service import ring_service
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m

SITE = s.site("a", pool={"workers": 2})


def test_a_ring_finds_worker_0_by_its_name():
    job, service = training_job(s.job(), SITE, m.DOMAIN), ring_service(s.job(), SITE)
    assert service is not None
    name, address = job["metadata"]["name"], service["metadata"]["name"]
    assert m.env(job)[names.ENV_RING_LEADER] == f"{name}-0.{address}.research.svc.{m.DOMAIN}"
    assert m.template(job)["spec"]["subdomain"] == address
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == ("None", True)


def test_it_names_the_pods_of_this_ring_alone():
    service, other = ring_service(s.job(), SITE), ring_service(s.job(meta={"uid": "another"}), SITE)
    assert service is not None
    assert other is not None
    selector = service["spec"]["selector"]
    assert selector.items() <= m.template(training_job(s.job(), SITE, m.DOMAIN))["metadata"]["labels"].items()
    assert other["spec"]["selector"] != selector
