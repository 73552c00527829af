"""Which Secrets a job needs, and that its pods mount these."""

from fedoperator.decide.view import secrets_of
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import init_job
from fedoperator.desired.secret_requests import secret_requests
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def _requests(keys: str = ""):
    return secret_requests(Identity.of(s.job(), keys), ["a", "b"], m.DOMAIN, certified=False)


def test_every_secret_that_a_pod_mounts_is_asked_for_and_no_other():
    job = s.job()
    mounted = [
        deployment(job, "img", "Never", m.DOMAIN, 1, "k1"),
        init_job(job, m.HUB, m.DOMAIN, "k1"),
        *(training_job(job, s.site(client), m.DOMAIN, keys="k1") for client in ("a", "b")),
    ]
    assert [(request.name,) for request in _requests("k1")] == [tuple(secrets_of(m.template(made))) for made in mounted]


def test_only_the_aggregators_is_a_servers_and_all_go_with_the_job():
    aggregator, *others = _requests()
    assert aggregator.hosts[0] == "heart-aggregator"
    assert [request.hosts for request in others] == [(), (), ()]
    assert {request.owner["uid"] for request in _requests()} == {s.UID}


def test_new_keys_mean_new_secrets():
    old, new = ({request.name for request in _requests(keys)} for keys in ("k1", "k2"))
    assert len(old) == len(new) == 4
    assert not old & new
