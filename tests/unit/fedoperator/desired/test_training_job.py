"""A site's training Job: its pod's resources and folders, and a name that changes with its template."""

import pytest

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import Pool
from fedapi.crd.tpu import combinations
from fedoperator.desired import store_claim
from fedoperator.desired.init_job import init_job
from fedoperator.desired.pool import Shape
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


def test_a_sites_state_is_one_folder_for_all_its_jobs():
    state = {"persistentVolumeClaim": {"claimName": "kept"}}
    found = {
        next(mount["subPath"] for mount in m.container(made)["volumeMounts"] if mount["mountPath"] == names.PATH_STATE)
        for uid in ("one", "two")
        for made in [training_job(s.job(meta={"uid": uid}), s.site("a", state=state), m.DOMAIN)]
    }
    assert found == {"fedloom"}


@pytest.mark.parametrize(
    ("limit", "asked", "size"),
    [
        (None, None, "2Gi"),
        ("8Gi", None, "4096Mi"),
        ("1000k", None, "1Mi"),
        ("3G", None, "1430Mi"),
        ("8Gi", "1Gi", "1Gi"),
        (None, "64Gi", "64Gi"),
    ],
)
def test_every_training_pod_has_shared_memory_of_a_size(limit, asked, size):
    """Within the container's memory limit: the site's, where it has one."""
    training = {"sharedMemory": asked} if asked else {}
    own = {"resources": {"limits": {"memory": limit}}} if limit else {}
    gpu = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 2}
    for pool in (own, own | {"workers": 2}, own | gpu):
        made = training_job(s.job(training=training), s.site("a", pool=pool), m.DOMAIN)
        volume = next(v for v in made["spec"]["template"]["spec"]["volumes"] if v["name"] == "shm")
        assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": size}
        assert {"name": "shm", "mountPath": "/dev/shm"} in m.container(made)["volumeMounts"]


def _name(job: FederatedJob, **site: object) -> str:
    return training_job(job, s.site("a", **site), m.DOMAIN)["metadata"]["name"]


def test_a_jobs_name_changes_with_its_template_and_with_nothing_else():
    base = _name(s.job())
    assert base == _name(s.job(rounds=3, training={"batchSize": 8}, round={"deadline": "9m"}), region="x", paused=True)
    others = {
        _name(s.job(training={"resources": {"limits": {"cpu": "1"}}})),
        _name(s.job(), data={"volumes": [{"name": "d", "configMap": {"name": "c"}}]}),
        _name(s.job(), pool={"nodeSelector": {"a": "b"}}),
        _name(s.job(priorityClassName="high")),
        _name(s.job(meta={"uid": "another"})),
    }
    assert base not in others
    assert len(others) == 5


def test_names_fit_whatever_the_user_writes():
    long = "a" * 52
    job = s.job(meta={"name": long})
    for manifest in (training_job(job, s.site("b" * 63), m.DOMAIN), init_job(job, m.HUB, m.DOMAIN)):
        assert len(manifest["metadata"]["name"]) <= names.MAX_JOB_NAME
    assert len(store_claim.store_claim(job)["metadata"]["name"]) <= 63


def test_pod_names_fit_63_letters_in_every_slice():
    job = s.job(meta={"name": "j" * 52})
    for type_, topology, count in combinations():
        shape = Shape.of(Pool.model_validate(m.tpu(topology, type_, count=count)))
        for slices in {1, max(1, 256 // shape.hosts)}:
            workers = {"workers": slices * shape.hosts} if slices > 1 else {}
            site = s.site("c" * 63, pool=m.tpu(topology, type_, count=count, **workers))
            for jobset in (False, True):
                made = training_job(job, site, m.DOMAIN, jobset=jobset)
                name, last = made["metadata"]["name"], shape.hosts - 1
                pods = f"{name}-slice-{slices - 1}-{last}-abcde" if made["kind"] == "JobSet" else f"{name}-{last}-abcde"
                assert len(pods) <= 63


def test_names_change_with_what_cannot_be_changed_in_place():
    found = {
        m.rendered(pool, **options)["metadata"]["name"]
        for pool in ({}, {"workers": 2}, {"workers": 3}, {"queueName": "q"}, {"workers": 2, "minWorkers": 1})
        for options in ({}, {"step": "1-1"}, {"step": "1-2"})
    }
    assert len(found) == 15


def test_images_and_labels_of_queues():
    images = [{"accelerator": "GPU", "image": "cuda"}]
    job = s.job(task={"entrypoint": "a:b", "image": "plain", "images": images}, queueName="all")
    for pool, image, queue in ((m.GPU | {"queueName": "gpus"}, "cuda", "gpus"), (m.tpu("1x1"), "plain", "all")):
        made = training_job(job, s.site("a", pool=pool), m.DOMAIN)
        assert m.template(made)["spec"]["containers"][0]["image"] == image
        assert made["metadata"]["labels"][names.LABEL_QUEUE] == queue
        assert names.LABEL_QUEUE not in m.template(made)["metadata"]["labels"], "Kueue would queue each pod as well"
