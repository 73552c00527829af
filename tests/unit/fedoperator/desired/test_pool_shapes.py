"""Pools in numbers, and where their pods may run: the tables that rendering rests on."""

import re
from pathlib import Path

import pytest

from fedapi import names
from fedapi.crd.flclient import Pool
from fedapi.crd.tpu import TPU_TYPES, chips, combinations, counts, default_count
from fedoperator.decide.view import JobView, PodView
from fedoperator.desired import jobs, placement
from fedoperator.desired.pool import Shape, needs_jobset, takes_jobset
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m




# pool -> workers, least workers, slots, devices per pod, hosts per slice, slices, what joins the ranks
SHAPES = [
    ({}, (1, 1, 1, 0, 1, 0, "Horovod")),
    ({"workers": 3, "minWorkers": 2, "slotsPerWorker": 2}, (3, 2, 2, 0, 1, 0, "Horovod")),
    (m.GPU, (1, 1, 8, 8, 1, 0, "Horovod")),
    (m.GPU | {"workers": 4, "collective": "TorchDistributed"}, (4, 4, 8, 8, 1, 0, "TorchDistributed")),
    (m.GPU | {"slotsPerWorker": 2}, (1, 1, 2, 8, 1, 0, "Horovod")),
    (m.tpu("1x1"), (1, 1, 1, 1, 1, 1, "XLA")),
    (m.tpu("2x2", workers=3, minWorkers=1), (3, 1, 1, 4, 1, 3, "Horovod")),
    (m.tpu("2x4"), (2, 2, 1, 4, 2, 1, "XLA")),
    (m.tpu("2x4", count=8), (1, 1, 1, 8, 1, 1, "XLA")),
    (m.tpu("4x4", workers=4, collective="Horovod"), (4, 4, 1, 4, 4, 1, "Horovod")),
    (m.tpu("4x4", workers=8, collective="TorchDistributed"), (8, 8, 1, 4, 4, 2, "TorchDistributed")),
    (m.tpu("16x16x24", "tpu-v5p-slice"), (1536, 1536, 1, 4, 1536, 1, "XLA")),
]


@pytest.mark.parametrize(("pool", "expected"), SHAPES)
def test_shapes(pool, expected):
    shape = Shape.of(Pool.model_validate(pool))
    found = (shape.workers, shape.min_workers, shape.slots, shape.count, shape.hosts, shape.slices, shape.collective)
    assert found == expected
    assert shape.ranks == expected[0] * expected[2]
    assert needs_jobset(shape) == (shape.slices > 1 and shape.hosts > 1)
    assert takes_jobset(shape) == (shape.hosts > 1)


def test_the_table_of_slices_is_consistent():
    """The rules of the resource look chips per host up by topology alone, and default to default_count."""
    allowed: dict[str, set[tuple[int, ...]]] = {}
    for type_, topology, count in combinations():
        allowed.setdefault(topology, set()).add(counts(type_, topology))
        assert chips(topology) % count == 0
        assert default_count(topology) in counts(type_, topology)
    assert {topology for topology, found in allowed.items() if len(found) > 1} == set()


def test_the_page_has_every_slice():
    page = (Path(__file__).parents[4] / "docs" / "pools.md").read_text()
    rows = re.findall(r"^\| (\w+) \| `(tpu[-\w]+)` \| ([^|]+) \| ([^|]+) \|$", page, flags=re.MULTILINE)
    told = {
        (type_, topology, int(count))
        for _, type_, count, topologies in rows
        for topology in re.findall(r"\d+x[\dx]+", topologies)
    }
    assert told == set(combinations())
    assert {(row[1], row[0]) for row in rows} == {(name, kind.generation) for name, kind in TPU_TYPES.items()}





SPOT = {"spot": True}
# provider, pool -> node labels, keys of tolerations
PLACES = [
    ("GCP", {}, {}, []),
    ("AWS", m.GPU, {}, ["nvidia.com/gpu"]),
    ("AWS", m.GPU | SPOT, {"eks.amazonaws.com/capacityType": "SPOT"}, ["nvidia.com/gpu"]),
    ("AWS", m.GPU | {"resourceName": "aws.amazon.com/neuroncore"}, {}, ["aws.amazon.com/neuron"]),
    ("AWS", m.GPU | {"resourceName": "habana.ai/gaudi"}, {}, ["habana.ai/gaudi"]),
    ("OnPremises", m.GPU | {"resourceName": "nvidia.com/mig-1g.5gb"} | SPOT, {}, ["nvidia.com/gpu"]),
    ("OnPremises", m.GPU | {"resourceName": "amd.com/gpu"}, {}, ["amd.com/gpu"]),
    (
        "Azure",
        m.GPU | SPOT,
        {"kubernetes.azure.com/scalesetpriority": "spot"},
        ["nvidia.com/gpu", "kubernetes.azure.com/scalesetpriority"],
    ),
    ("GCP", SPOT, {"cloud.google.com/gke-spot": "true"}, ["cloud.google.com/gke-spot"]),
    (
        "GCP",
        m.tpu("4x4"),
        {"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice", "cloud.google.com/gke-tpu-topology": "4x4"},
        ["google.com/tpu"],
    ),
    (
        "GCP",
        m.tpu("2x4", "tpu-v6e-slice", count=8),
        {
            "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
            "cloud.google.com/gke-tpu-topology": "2x4",
            "cloud.google.com/gke-accelerator-count": "8",
        },
        ["google.com/tpu"],
    ),
]


@pytest.mark.parametrize(("provider", "pool", "labels", "taints"), PLACES)
def test_places(provider, pool, labels, taints):
    spec = m.template(m.rendered(pool, provider))["spec"]
    assert spec.get("nodeSelector", {}) == labels
    assert [toleration["key"] for toleration in spec.get("tolerations", [])] == taints


def test_what_a_site_asks_for_itself_wins_and_is_not_said_twice():
    own = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    pool = m.GPU | SPOT | {"nodeSelector": {"cloud.google.com/gke-spot": "maybe"}, "tolerations": [own]}
    site = s.site("a", provider="GCP", pool=pool)
    assert placement.node_selector(site.spec, Shape.of(site.spec.pool)) == {"cloud.google.com/gke-spot": "maybe"}
    assert [t["key"] for t in placement.tolerations(site.spec)] == ["nvidia.com/gpu", "cloud.google.com/gke-spot"]


RING = {names.ENV_RING_LEADER, names.ENV_RING_ADDRESS, names.ENV_RING_WORKERS, names.ENV_RING_SLOTS}


def test_one_rank_is_told_of_no_ring_and_one_pod_of_no_network():
    alone = m.env(m.rendered({}))
    assert not RING & alone.keys()
    assert names.ENV_COLLECTIVE not in alone
    assert (alone[names.ENV_ACCELERATOR], alone[names.ENV_LIFETIME]) == ("CPU", "Job")
    chip = m.env(m.rendered(m.tpu("1x1")))
    assert not RING & chip.keys()
    assert (chip[names.ENV_ACCELERATOR], chip[names.ENV_COLLECTIVE]) == ("TPU", "XLA")
    eight = m.env(m.rendered(m.GPU))
    assert (eight[names.ENV_RING_LEADER], eight[names.ENV_RING_ADDRESS]) == ("127.0.0.1", "127.0.0.1")
    assert (eight[names.ENV_RING_WORKERS], eight[names.ENV_RING_SLOTS]) == ("1", "8")
    for pool in ({}, m.GPU, m.tpu("2x4", count=8)):
        job = m.rendered(pool)
        assert "completionMode" not in job["spec"]
        assert "subdomain" not in m.template(job)["spec"]
        assert ring_service(s.job(), s.site("a", pool=pool)) is None
        assert ring_policy(s.job(), s.site("a", pool=pool)) is None


def test_a_ring_finds_worker_0_by_its_name_and_nobody_else_gets_in():
    site = s.site("a", pool={"workers": 2})
    job, service, policy = (
        training_job(s.job(), site, m.DOMAIN),
        ring_service(s.job(), site),
        ring_policy(s.job(), site),
    )
    assert service is not None
    assert policy is not None
    name, address = job["metadata"]["name"], service["metadata"]["name"]
    assert m.env(job)[names.ENV_RING_LEADER] == f"{name}-0.{address}.research.svc.{m.DOMAIN}"
    assert m.template(job)["spec"]["subdomain"] == address
    assert service["spec"]["publishNotReadyAddresses"]
    selector = service["spec"]["selector"]
    assert selector.items() <= m.template(job)["metadata"]["labels"].items()
    assert policy["spec"]["podSelector"]["matchLabels"] == selector
    assert policy["spec"]["ingress"] == [{"from": [{"podSelector": {"matchLabels": selector}}]}]
    other = ring_service(s.job(meta={"uid": "another"}), site)
    assert other is not None
    assert other["spec"]["selector"] != selector


def test_the_jobset_of_several_slices():
    pool = m.tpu("2x4", workers=4, queueName="tpus")
    job = m.rendered(pool, jobset=True)
    (slices,) = job["spec"]["replicatedJobs"]
    assert (slices["replicas"], slices["template"]["spec"]["completions"]) == (2, 2)
    assert "metadata" not in slices["template"], "child Jobs without our labels: only the JobSet is watched"
    env = m.env(job)
    assert env[names.ENV_RING_SLICE] == "metadata.labels['jobset.sigs.k8s.io/job-index']"
    assert env[names.ENV_RING_LEADER].startswith(f"{job['metadata']['name']}-slice-0-0.")
    assert (env[names.ENV_RING_WORKERS], env[names.ENV_RING_SLICE_HOSTS]) == ("4", "2")
    assert jobs.created(job)["spec"]["suspend"] is True
    assert jobs.belongs_to_queue(job)
    assert m.rendered(pool)["kind"] == "Job"
    assert m.rendered(m.tpu("2x2", workers=2), jobset=True)["kind"] == "Job"


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


def test_pods_and_jobsets_as_decisions_see_them():
    labels = {names.LABEL_JOBSET: "ring", names.LABEL_JOBSET_INDEX: "2", names.LABEL_COMPLETION_INDEX: "3"}
    body = s.pod("trainer", "ring-slice-2", "a")
    body["metadata"]["labels"] |= labels
    body["metadata"]["annotations"] = {names.ANNOTATION_SLICE_HOSTS: "4"}
    pod = PodView.of(body)
    assert (pod.job, pod.index, pod.worker) == ("ring", 3, 11)
    plain = s.pod("trainer", "j", "a", meta={"annotations": {names.LABEL_COMPLETION_INDEX: "1"}})
    assert (PodView.of(plain).job, PodView.of(plain).index, PodView.of(plain).worker) == ("j", 1, 1)
    assert (PodView.of(s.pod("trainer", "j", "a")).index, PodView.of(s.pod("trainer", "j", "a")).worker) == (None, 0)
    condition = {"type": "Completed", "status": "True", "lastTransitionTime": s.ago(5)}
    live = m.rendered(m.tpu("4x4"), jobset=True) | {"status": {"conditions": [condition]}}
    view = JobView.of(live)
    assert (view.kind, view.complete, view.failed, view.suspended) == ("JobSet", True, False, False)
    assert view.completed is not None
    failed = JobView.of(live | {"status": {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}})
    assert (failed.complete, failed.failed, failed.message) == (False, True, "m")
