"""The operator and sites of several pods: Services, policies, Jobs with numbers, and JobSets where the cluster has them."""

import pytest

from fedapi import names
from tests.integration.fedoperator.kit import ago, job, operator, rests, site, until

pytestmark = pytest.mark.apiserver

SLICES = {"accelerator": "TPU", "tpu": {"type": "tpu-v5p-slice", "topology": "2x2x2"}, "workers": 4}
TRAINERS = f"{names.LABEL_ROLE}={names.ROLE_TRAINER}"


def reason(api, namespace, name):
    sites = api.get("FederatedJob", namespace, "heart").get("status", {}).get("sites", ())
    return next((entry["reason"] for entry in sites if entry["name"] == name), "")


def made(api, namespace, kind):
    return api.listed(kind, namespace, TRAINERS) or []


def started(api, namespace):
    """Plays kubelet and init Job until training may begin."""

    def init():
        return (api.listed("Job", namespace, f"{names.LABEL_ROLE}={names.ROLE_INIT}") or [{}])[0]

    until(lambda: api.pods_ready(namespace, names.ROLE_AGGREGATOR))
    until(lambda: init().get("status", {}).get("startTime"))
    words = ("SuccessCriteriaMet", "Complete")
    done = [{"type": word, "status": "True", "lastTransitionTime": ago(0)} for word in words]
    status = {"conditions": done, "completionTime": ago(0), "succeeded": 1, "active": 0, "ready": 0}
    status |= {"uncountedTerminatedPods": {}}
    api.patch("Job", namespace, init()["metadata"]["name"], {"status": status}, "status")


def test_a_ring_of_pods_has_names_and_a_border_and_rests(api, namespace, tmp_path):
    with operator(api, tmp_path, RESYNC_S=2) as process:
        process.wait_ready()
        api.create(site(namespace, "pair", pool={"workers": 2}))
        api.create(job(namespace))
        (ring,) = until(lambda: made(api, namespace, "Job"))
        assert (ring["spec"]["completionMode"], ring["spec"]["parallelism"]) == ("Indexed", 2)
        for kind in ("Service", "NetworkPolicy"):
            (found,) = until(lambda kind=kind: made(api, namespace, kind))
            assert found["metadata"]["name"] == ring["spec"]["template"]["spec"]["subdomain"]
        api.delete("NetworkPolicy", namespace, names.ring_service_name("heart", "pair"))
        until(lambda: made(api, namespace, "NetworkPolicy"))
        until(lambda: reason(api, namespace, "pair"))
        rests(api, process, namespace)
        api.patch("FLClient", namespace, "pair", {"spec": {"pool": {"workers": 1}}})
        until(lambda: not made(api, namespace, "Service") and not made(api, namespace, "NetworkPolicy"))
        assert process.end() == 0


def test_without_jobset_several_slices_are_refused_with_the_reason(api, namespace, tmp_path):
    with operator(api, tmp_path) as process:
        process.wait_ready()
        api.create(site(namespace, "west", provider="GCP", pool=SLICES))
        api.create(job(namespace))
        until(lambda: reason(api, namespace, "west") == "JobSetMissing")
        assert not made(api, namespace, "Job")
        assert process.end() == 0


def test_with_jobset_slices_are_created_suspended_started_failed_and_removed(api, namespace, jobset, tmp_path):
    with operator(api, tmp_path, RESYNC_S=2) as process:
        process.wait_ready()
        api.create(site(namespace, "west", provider="GCP", pool=SLICES))
        api.create(site(namespace, "stays"))
        api.create(job(namespace))
        (ring,) = until(lambda: made(api, namespace, "JobSet"))
        name = ring["metadata"]["name"]
        assert ring["spec"]["suspend"]
        started(api, namespace)
        until(lambda: api.get("JobSet", namespace, name)["spec"]["suspend"] is False)
        rests(api, process, namespace)
        api.patch("FederatedJob", namespace, "heart", {"spec": {"suspend": True}})
        until(lambda: api.get("JobSet", namespace, name)["spec"]["suspend"] is True)
        failed = {"type": "Failed", "status": "True", "reason": "FailedJobs", "message": "jobset failed"}
        status = {"conditions": [failed | {"lastTransitionTime": ago(0)}], "restarts": 0}
        api.patch("JobSet", namespace, name, {"status": status}, "status")
        until(lambda: reason(api, namespace, "west") == "JobFailed")
        api.delete("FLClient", namespace, "west")
        until(lambda: not made(api, namespace, "JobSet"))
        assert process.end() == 0


def test_what_a_queue_adds_to_its_job_stays(api, namespace, tmp_path):
    """Kueue puts the labels and taints of the machines that it chose into a Job, and starts it."""
    with operator(api, tmp_path, RESYNC_S=2) as process:
        process.wait_ready()
        gpus = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 1, "workers": 2, "queueName": "gpus"}
        api.create(site(namespace, "pair", pool=gpus))
        api.create(job(namespace))
        (ring,) = until(lambda: made(api, namespace, "Job"))
        name, pod = ring["metadata"]["name"], ring["spec"]["template"]["spec"]
        assert (ring["spec"]["suspend"], ring["metadata"]["labels"][names.LABEL_QUEUE]) == (True, "gpus")
        chosen = {"key": "team", "operator": "Exists"}
        flavor = {"nodeSelector": {"flavor": "a100"}, "tolerations": [*pod["tolerations"], chosen]}
        api.patch("Job", namespace, name, {"spec": {"template": {"spec": flavor}}})
        api.patch("Job", namespace, name, {"spec": {"suspend": False}})
        process.looks_again(namespace, 3)
        live = api.get("Job", namespace, name)["spec"]
        assert live["suspend"] is False
        assert live["template"]["spec"]["nodeSelector"] == {"flavor": "a100"}
        assert chosen in live["template"]["spec"]["tolerations"]
        written = [w["verb"] for w in api.writes(namespace) if w["objectRef"].get("name") == name]
        assert written == ["create"]
        assert process.end() == 0
