"""The init Job."""

from fedapi import names
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import init_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def test_the_init_pod_has_the_pull_secrets_for_both_of_its_images():
    job = s.job(
        training={"podTemplate": {"imagePullSecrets": ["tasks", "both"]}},
        aggregator={"podTemplate": {"imagePullSecrets": ["both", "hub"]}},
    )
    pod = init_job(job, m.HUB, m.DOMAIN)["spec"]["template"]["spec"]
    assert pod["imagePullSecrets"] == [{"name": name} for name in ("tasks", "both", "hub")]


def test_the_init_job_has_two_containers_and_nothing_of_the_volume():
    """The one with the task's code has no token; the one with the token runs the hub's own program, isolated."""
    pod = init_job(s.job(), m.HUB, m.DOMAIN, "k")["spec"]["template"]["spec"]
    (making,), (handing_in,) = pod["initContainers"], pod["containers"]
    assert (making["image"], handing_in["image"]) == (s.job().spec.task.image, "hub")
    assert [mount["mountPath"] for mount in making["volumeMounts"]] == [names.PATH_INIT, names.PATH_TMP]
    assert tuple(handing_in["command"]) == ("/opt/fedloom/bin/python", "-I", "-m", "fedaggregator.handin")
    secret = Identity.of(s.job(), "k").init_secret
    assert {"name": "credentials", "secret": {"secretName": secret, "defaultMode": 0o440}} in pod["volumes"]
    assert not [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert "affinity" not in pod, "no volume holds it to a node"
    for container in (making, handing_in):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
