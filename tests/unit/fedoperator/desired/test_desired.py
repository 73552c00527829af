"""Builders: the few properties that the golden files do not show."""

import json
from pathlib import Path

import pytest

from fedapi import names, outcome
from fedapi.crd.federatedjob import FederatedJob
from fedlocal.mounts import environment
from fedlocal.pods import stages
from fedoperator.desired import access, config, jobs, store_claim
from fedoperator.desired.aggregator import deployment
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import HubImage, init_job
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
    assert {v["name"] for v in pod["volumes"]} == {m["name"] for c in containers for m in c["volumeMounts"]}
    assert not [v for v in pod["volumes"] if "hostPath" in v]


def test_only_the_aggregator_has_an_api_token():
    training, init, aggregator = m.pods()
    for manifest in (training, init):
        assert manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert "automountServiceAccountToken" not in aggregator["spec"]["template"]["spec"]
    assert aggregator["spec"]["template"]["spec"]["serviceAccountName"] == "heart-aggregator"


def test_jobs_fail_on_fatal_codes_only_and_never_carry_suspend():
    for manifest in m.pods()[:2]:
        disrupted, ignore, fail = manifest["spec"]["podFailurePolicy"]["rules"]
        assert [rule["action"] for rule in (disrupted, ignore, fail)] == ["Ignore", "Ignore", "FailJob"]
        assert ignore["onExitCodes"]["values"] == sorted(outcome.IGNORED)
        assert fail["onExitCodes"]["values"] == sorted(outcome.FATAL)
        of_one = manifest["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_TRAINER
        assert fail["onExitCodes"].get("containerName") == (m.container(manifest)["name"] if of_one else None)
        assert manifest["spec"]["podReplacementPolicy"] == "Failed"
        assert "suspend" not in manifest["spec"]


def test_a_sites_state_is_one_folder_for_all_its_jobs():
    state = {"persistentVolumeClaim": {"claimName": "kept"}}
    found = {
        next(m["subPath"] for m in m.container(made)["volumeMounts"] if m["mountPath"] == names.PATH_STATE)
        for uid in ("one", "two")
        for made in [training_job(s.job(meta={"uid": uid}), s.site("a", state=state), m.DOMAIN)]
    }
    assert found == {"fedloom"}


def test_what_users_may_tune_reaches_the_container():
    patch = {"env": [{"name": name, "value": "9"} for name in names.TUNABLE]}
    job = s.job(training={"podTemplate": patch}, aggregator={"podTemplate": patch})
    for made in (training_job(job, s.site("a"), m.DOMAIN), deployment(job, "img", "Never", m.DOMAIN, 1)):
        assert {m.env(made)[name] for name in names.TUNABLE} == {"9"}


def test_of_the_hubs_variables_only_those_of_the_list_reach_it():
    """An object may be older than the rule that refuses the others."""
    allowed = names.HUB_ENV[-20:]  # a list has at most 32 entries
    asked = [{"name": name, "value": "/x"} for name in (*allowed, "PYTHONPATH", "LD_PRELOAD", "fedloom_store")]
    plain, asking = (
        m.env(deployment(s.job(aggregator={"podTemplate": {"env": env}}), "img", "Never", m.DOMAIN, 1))
        for env in ([], asked)
    )
    assert set(asking) - set(plain) == set(allowed)


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
        for found in (on_cluster, environment(stages(made["spec"]["template"])[0], Path("/"))):
            arrived = {name: found[name] for name in asked if name in found}
            if names.ENV_TASK_ARGS in arrived:
                arrived[names.ENV_TASK_ARGS] = json.loads(arrived[names.ENV_TASK_ARGS])
            assert len(arrived) == count
            assert arrived == {name: asked[name] for name in arrived}


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


@pytest.mark.parametrize(
    ("asked", "limit"),
    [
        (None, "1Gi"),
        ({"requests": {"cpu": "2"}}, "1Gi"),
        ({"requests": {"memory": "512Mi"}}, "1Gi"),
        ({"requests": {"memory": "4Gi"}}, "4Gi"),
        ({"limits": {"memory": "300Mi"}}, "300Mi"),
        ({"limits": {"cpu": "1"}}, "1Gi"),
    ],
)
def test_an_aggregator_always_has_a_memory_limit_and_its_init_job_none_by_default(asked, limit):
    job = s.job(aggregator={"resources": asked} if asked else {})
    assert m.container(deployment(job, "img", "Never", m.DOMAIN, 1))["resources"]["limits"]["memory"] == limit
    if asked is None:
        assert "limits" not in m.container(init_job(job, m.HUB, m.DOMAIN))["resources"]


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
    assert [m["mountPath"] for m in making["volumeMounts"]] == [names.PATH_INIT, names.PATH_TMP]
    assert tuple(handing_in["command"]) == ("/opt/fedloom/bin/python", "-I", "-m", "fedaggregator.handin")
    secret = Identity.of(s.job(), "k").init_secret
    assert {"name": "credentials", "secret": {"secretName": secret, "defaultMode": 0o440}} in pod["volumes"]
    assert not [v for v in pod["volumes"] if "persistentVolumeClaim" in v]
    assert "affinity" not in pod, "no volume holds it to a node"
    for container in (making, handing_in):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_jobs_are_created_suspended():
    training, init, aggregator = m.pods()
    for made in (training, init):
        assert jobs.created(made)["spec"]["suspend"] is True
        assert "suspend" not in made["spec"]
    assert jobs.created(aggregator) == aggregator


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


def test_the_role_without_sites_names_no_leases():
    identity = Identity.of(s.job())
    assert [rule["resources"] for rule in access.role(identity, [])["rules"]] == [
        ["federatedjobs"], ["federatedjobs/status"],
    ]  # fmt: skip
    assert all(rule["resourceNames"] for rule in access.role(identity, ["a"])["rules"])


@pytest.mark.parametrize(("when", "owned"), [("Retain", False), ("Delete", True)])
def test_the_store_outlives_the_job_unless_asked(when, owned):
    claim = store_claim.store_claim(s.job(storage={"volume": {"whenDeleted": when}}))
    assert ("ownerReferences" in claim["metadata"]) is owned


@pytest.mark.parametrize(("live", "size"), [(None, "10Gi"), ("5Gi", "10Gi"), ("20Gi", "20Gi")])
def test_an_enlarged_claim_is_never_shrunk(live, size):
    assert store_claim.store_claim(s.job(), live)["spec"]["resources"]["requests"]["storage"] == size


def test_numbers_and_seconds_for_the_aggregator():
    spec = {
        "round": {"quorum": "60%", "deadline": "1h30m", "graceAfterQuorum": "90s"},
        "clients": {"policy": "Random", "fraction": "0.5", "minAvailable": 2},
        "stop": {"metric": "accuracy", "target": "0.9"},
        "training": {"localSteps": 10, "optimizer": {"name": "SGD", "learningRate": "1e-2", "momentum": "0.9"}},
    }
    made = config.job_config(s.job(**spec), ())
    assert (made.deadline_s, made.grace_after_quorum_s, made.fraction, made.quorum) == (5400.0, 90.0, 0.5, "60%")
    assert made.stop is not None
    assert (made.stop.target, made.stop.patience) == (0.9, None)
    assert (made.training.epochs, made.training.local_steps) == (None, 10)
    assert (made.training.optimizer.learning_rate, made.training.optimizer.momentum) == (0.01, 0.9)
    plain = config.job_config(s.job(), ())
    assert (plain.training.epochs, plain.stop, plain.fraction, plain.grace_after_quorum_s) == (1, None, None, None)
