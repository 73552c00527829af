"""Rendered manifests and what is read from them. Used by the tests of the builders."""

from fedapi.jsonvalue import Json
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.init_job import HubImage, init_job
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s

DOMAIN = "cluster.local"
HUB = HubImage("hub", "Never")
GPU: Json = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 8}


def tpu(topology: str, type_: str = "tpu-v5-lite-podslice", **more: object) -> Json:
    return {"accelerator": "TPU", "tpu": {"type": type_, "topology": topology}, **more}


def pods() -> list[Json]:
    """What makes a training pod, the init pod and the aggregator's pod of a job with defaults."""
    job = s.job()
    return [
        training_job(job, s.site("a"), DOMAIN),
        init_job(job, HUB, DOMAIN),
        deployment(job, "img", "Never", DOMAIN, 1),
    ]


def rendered(pool: Json, provider: str = "GCP", **options: object) -> Json:
    """The training Job, or JobSet, of a site that has the pool."""
    return training_job(s.job(), s.site("a", provider=provider, pool=pool), DOMAIN, **options)


def template(manifest: Json) -> Json:
    spec = manifest["spec"]
    found: Json = (spec["replicatedJobs"][0]["template"]["spec"] if manifest["kind"] == "JobSet" else spec)["template"]
    return found


def container(manifest: Json) -> Json:
    """The one with the task's code, where there are several."""
    pod = template(manifest)["spec"]
    found: Json = (pod.get("initContainers") or pod["containers"])[0]
    return found


def env(manifest: Json) -> dict[str, str]:
    """Variables of that container: a value, or the field of the pod that it comes from."""
    entries = container(manifest)["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {e["name"]: e["value"] if "value" in e else e["valueFrom"]["fieldRef"]["fieldPath"] for e in entries}
