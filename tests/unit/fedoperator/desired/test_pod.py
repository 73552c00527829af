"""What all pods share: security, environment, what a user's podTemplate may change."""

import json
from pathlib import Path

import pytest

from fedapi import names
from fedlocal.mounts import environment
from fedlocal.pods import stages
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.init_job import init_job
from fedoperator.desired.training_job import training_job
from tests.unit.fedoperator import samples as s
from tests.unit.fedoperator.desired import manifests as m


@pytest.mark.parametrize("manifest", m.pods(), ids=["training", "init", "aggregator"])
def test_every_pod_meets_the_restricted_standard(manifest):
    pod, container = manifest["spec"]["template"]["spec"], m.container(manifest)
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
    containers = (*pod.get("initContainers", ()), *pod["containers"])
    assert {v["name"] for v in pod["volumes"]} == {mount["name"] for c in containers for mount in c["volumeMounts"]}
    assert not [v for v in pod["volumes"] if "hostPath" in v]


def test_only_the_aggregator_has_an_api_token():
    training, init, aggregator = m.pods()
    for manifest in (training, init):
        assert manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken" not in aggregator["spec"]["template"]["spec"]
    assert aggregator["spec"]["template"]["spec"]["serviceAccountName"] == "heart-aggregator"


def test_what_users_may_tune_reaches_the_container():
    patch = {"env": [{"name": name, "value": "9"} for name in names.TUNABLE]}
    job = s.job(training={"podTemplate": patch}, aggregator={"podTemplate": patch})
    for made in (training_job(job, s.site("a"), m.DOMAIN), deployment(job, "img", "Never", m.DOMAIN, 1)):
        assert {m.env(made)[name] for name in names.TUNABLE} == {"9"}


def test_annotations_that_are_orders_and_labels_of_others_are_dropped():
    patch = {
        "labels": {"team": "a", "kueue.x-k8s.io/queue-name": "q", "fedloom.dev/client": "b", "job-name": "j"},
        "annotations": {"cost": "1", "container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"},
    }
    job = s.job(training={"podTemplate": patch}, aggregator={"podTemplate": patch})
    for made, client in ((training_job(job, s.site("a"), m.DOMAIN), "a"), (init_job(job, m.HUB, m.DOMAIN), None)):
        metadata = made["spec"]["template"]["metadata"]
        assert metadata["annotations"] == {"cost": "1"}
        assert metadata["labels"].get("fedloom.dev/client") == client
        assert {"kueue.x-k8s.io/queue-name", "job-name"}.isdisjoint(metadata["labels"])


def _expanded(text: str, known: dict[str, str]) -> str:
    """What a kubelet makes of a variable's value (third_party/forked/golang/expansion): the oracle of the next test."""
    out, at = "", 0
    while at < len(text):
        if text[at] != "$" or at + 1 == len(text):
            out, at = out + text[at], at + 1
        elif text[at + 1] == "$":
            out, at = out + "$", at + 2
        elif text[at + 1] == "(" and (end := text.find(")", at)) > 0:
            name = text[at + 2 : end]
            out, at = out + known.get(name, f"$({name})"), end + 1
        else:
            out, at = out + text[at : at + 2], at + 2
    return out


@pytest.mark.parametrize(
    "value", ["$$", "$(FEDLOOM_JOB)", "$(X)$$(X)", "$", "$$$", "a$b", "$()", "$(", "cost: 5$", "^a$|^(b)$$", "$((1+1))"]
)
def test_values_arrive_as_they_were_written(value):
    """On a cluster, where the kubelet expands them, and in the embedded runner, which has no kubelet."""
    args = {"text": value, value[:60]: 1}
    job = s.job(
        task={"entrypoint": "a:b", "image": "i", "args": args},
        training={"podTemplate": {"env": [{"name": "JOB", "value": value}]}},
        aggregator={"podTemplate": {"env": [{"name": "NO_PROXY", "value": value}]}},
    )
    site = s.site("a", data={"env": [{"name": "SITE", "value": value}]})
    asked = {"JOB": value, "SITE": value, "NO_PROXY": value, names.ENV_TASK_ARGS: args}
    for made, count in (
        (training_job(job, site, m.DOMAIN), 3), (init_job(job, m.HUB, m.DOMAIN), 2), (deployment(job, "img", "Never", m.DOMAIN, 1), 1)
    ):  # fmt: skip
        on_cluster: dict[str, str] = {}
        for variable in m.container(made)["env"]:
            on_cluster[variable["name"]] = _expanded(variable["value"], on_cluster)
        for found in (on_cluster, environment(stages(made["spec"]["template"])[0][0], Path("/"))):
            arrived = {name: found[name] for name in asked if name in found}
            if names.ENV_TASK_ARGS in arrived:
                arrived[names.ENV_TASK_ARGS] = json.loads(arrived[names.ENV_TASK_ARGS])
            assert len(arrived) == count
            assert arrived == {name: asked[name] for name in arrived}


def test_devices_and_the_sites_resources_win():
    job = s.job(training={"resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}})
    gpu = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 8}
    assert m.container(training_job(job, s.site("a", pool=gpu), m.DOMAIN))["resources"] == {
        "requests": {"cpu": "1"}, "limits": {"memory": "1Gi", "nvidia.com/gpu": "8"},
    }  # fmt: skip
    own = gpu | {"resources": {"limits": {"memory": "9Gi"}}}
    assert m.container(training_job(job, s.site("a", pool=own), m.DOMAIN))["resources"] == {
        "limits": {"memory": "9Gi", "nvidia.com/gpu": "8"}
    }
    assert "resources" not in m.container(training_job(s.job(), s.site("a"), m.DOMAIN))


def test_environment_fedloom_wins_then_the_site_then_the_job():
    patch = {"env": [{"name": "X", "value": "job"}, {"name": "Y", "value": "job"}, {"name": "HOME", "value": "/"}]}
    data = {"env": [{"name": "X", "value": "site"}]}
    env = m.env(training_job(s.job(training={"podTemplate": patch}), s.site("a", data=data), m.DOMAIN))
    assert (env["X"], env["Y"], env["HOME"]) == ("site", "job", "/tmp")
    assert env[names.ENV_TASK_ARGS] == '{"features": 13}'
    assert env[names.ENV_AGGREGATOR_URL] == "https://heart-aggregator.research.svc.cluster.local:8443"


def test_a_patch_never_takes_our_labels():
    patch = {"labels": {names.LABEL_ROLE: "x", "team": "a"}, "annotations": {"b": "c"}}
    manifest = training_job(s.job(training={"podTemplate": patch}), s.site("a"), m.DOMAIN)
    metadata = manifest["spec"]["template"]["metadata"]
    assert metadata["labels"][names.LABEL_ROLE] == names.ROLE_TRAINER
    assert (metadata["labels"]["team"], metadata["annotations"]) == ("a", {"b": "c"})
