"""What is rendered from every pool of the examples, and from every TPU slice there is, before a real API server.

No machine here has these devices: that the objects are admitted, and mean what was meant, is what can be shown.
"""

import copy
from pathlib import Path

import pytest
import yaml

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.crd.tpu import chips, combinations
from fedoperator.desired.difference import differs
from fedoperator.desired.jobs import created
from fedoperator.desired.kinds import BY_KIND
from fedoperator.desired.pool import Shape, needs_jobset
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service
from fedoperator.desired.training_job import training_job
from tests.integration.fedoperator.kit import until

pytestmark = pytest.mark.apiserver

EXAMPLES = Path(__file__).parents[3] / "examples"
SITES = sorted([*EXAMPLES.glob("*/clouds/*.yaml"), *EXAMPLES.glob("clouds/*-*.yaml")])
JOB = yaml.safe_load((EXAMPLES / "clouds" / "consortium.yaml").read_text())
UID = "11111111-2222-3333-4444-555555555555"


def body_of(path, namespace="default"):
    body = yaml.safe_load(path.read_text())
    return body | {"metadata": body["metadata"] | {"namespace": namespace}}


def federated_job(namespace="default"):
    return FederatedJob.parse(JOB | {"metadata": JOB["metadata"] | {"namespace": namespace, "uid": UID}})


def client(pool, name="site", namespace="default", provider="GCP"):
    return FLClient.parse(
        {"metadata": {"name": name, "namespace": namespace}, "spec": {"provider": provider, "pool": pool}}
    )


def asked(api, body):
    """What the API server makes of an object, without keeping it; unknown fields are refused."""
    path = BY_KIND[body["kind"]].path(body["metadata"]["namespace"])
    return api.connection.request("POST", path, body, query={"dryRun": "All", "fieldValidation": "Strict"})


def kept(api, body):
    """The object, made for good; without owner, which does not exist."""
    body = copy.deepcopy(dict(body))
    body["metadata"].pop("ownerReferences", None)
    return api.create(created(body)) | {"kind": body["kind"]}


def rendered(site, **options):
    job = federated_job(site.metadata.namespace)
    ring = (ring_service(job, site), ring_policy(job, site))
    return training_job(job, site, "cluster.local", **options), [made for made in ring if made]


@pytest.fixture
def priority(api):
    """The priority class of the examples' job: without it no pod would be made."""
    api.cluster.kubectl("create", "priorityclass", "research", "--value=1000")
    yield
    api.cluster.kubectl("delete", "priorityclass", "research")


def test_the_job_of_the_examples_is_admitted(api):
    asked(api, JOB | {"metadata": JOB["metadata"] | {"namespace": "default"}})


@pytest.mark.parametrize("path", SITES, ids=lambda path: path.stem)
def test_every_pool_of_the_examples_is_admitted_and_so_is_what_it_becomes(api, path):
    asked(api, body_of(path))
    job, ring = rendered(FLClient.parse(body_of(path)))
    for made in (job, *ring):
        live = asked(api, created(made))
        assert not differs(made, live), "or the operator would write it again and again"
    assert bool(ring) == (job["spec"]["parallelism"] > 1)


@pytest.mark.parametrize(("type_", "topology", "count"), list(combinations()), ids=str)
def test_every_slice_is_admitted_with_a_pod_per_host(api, type_, topology, count):
    site = {"tpu": {"type": type_, "topology": topology}, "accelerator": "TPU", "count": count}
    metadata = {"name": "site", "namespace": "default"}
    body = {"apiVersion": names.API_VERSION, "kind": names.CLIENT_KIND, "metadata": metadata}
    asked(api, body | {"spec": {"provider": "GCP", "pool": site}})
    shape = Shape.of(client(site).spec.pool)
    assert shape.hosts * shape.count == chips(topology) == shape.chips
    if shape.workers <= 256:
        site |= {"workers": shape.workers}  # as a user would write it
        asked(api, body | {"spec": {"provider": "GCP", "pool": site}})
    live = asked(api, rendered(client(site))[0])  # and so is its Job
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert live["spec"]["completions"] == live["spec"]["parallelism"] == chips(topology) // count
    assert container["resources"] == {"limits": {"google.com/tpu": str(count)}}


def test_the_pods_of_a_ring_have_the_names_that_they_look_for(api, namespace, priority):
    site = FLClient.parse(body_of(EXAMPLES / "clouds" / "eks-gpu.yaml", namespace))
    job, (service, policy) = rendered(site)
    for made in (service, policy):
        assert kept(api, made)["spec"]["podSelector" if made is policy else "selector"]
    live = kept(api, job)
    assert live["spec"]["suspend"]
    api.patch("Job", namespace, live["metadata"]["name"], {"spec": {"suspend": False}})
    pods = until(lambda: len(found := api.listed("Pod", namespace) or []) == 4 and found)
    name = job["metadata"]["name"]
    assert {pod["spec"]["hostname"] for pod in pods} == {f"{name}-{worker}" for worker in range(4)}
    assert {pod["spec"]["subdomain"] for pod in pods} == {service["metadata"]["name"]}
    env = {e["name"]: e for e in pods[0]["spec"]["containers"][0]["env"]}
    leader = env[names.ENV_RING_LEADER]["value"]
    assert leader == f"{name}-0.{service['metadata']['name']}.{namespace}.svc.cluster.local"
    assert env[names.ENV_RING_ADDRESS]["valueFrom"]["fieldRef"]["fieldPath"] == "status.podIP"
    selected = service["spec"]["selector"].items()
    assert all(selected <= pod["metadata"]["labels"].items() for pod in pods)
    assert not differs(job | {"metadata": {"name": name}}, api.get("Job", namespace, name))


MULTI_HOST = {"accelerator": "TPU", "tpu": {"type": "tpu-v5p-slice", "topology": "2x2x2"}, "workers": 4}


def test_slices_of_several_hosts_are_a_jobset(api, namespace, jobset):
    site = client(MULTI_HOST | {"queueName": "tpus"}, "west", namespace)
    assert needs_jobset(Shape.of(site.spec.pool))
    made, ring = rendered(site, jobset=True)
    asked(api, created(made))
    live = kept(api, made)
    assert live["spec"]["suspend"]
    assert not differs(made | {"metadata": {"name": made["metadata"]["name"]}}, live)
    (slices,) = live["spec"]["replicatedJobs"]
    assert (slices["replicas"], slices["template"]["spec"]["parallelism"]) == (2, 2)
    assert live["metadata"]["labels"][names.LABEL_QUEUE] == "tpus"
    # what JobSet's controller makes of it: a Job per slice, which the API server admits
    child = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{live['metadata']['name']}-slice-1", "namespace": namespace},
        "spec": slices["template"]["spec"],
    }
    asked(api, child)
    assert len(ring) == 2


def test_one_slice_of_several_hosts_does_without_a_jobset():
    site = client(MULTI_HOST | {"workers": 2})
    assert not needs_jobset(Shape.of(site.spec.pool))
    assert rendered(site)[0]["kind"] == "Job"
    assert rendered(site, jobset=True)[0]["kind"] == "JobSet"
