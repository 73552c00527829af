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


def given(**initial_model):
    return s.job(task=s.job().spec.task.dump() | {"initialModel": {"sha256": "a" * 64} | initial_model})


def environment(container):
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_an_initial_model_is_fetched_where_the_credentials_are_and_read_where_they_are_not():
    job = given(
        uri="s3://bucket/models/a.pt?region=eu-central-1", credentialsSecretRef={"name": "fedloom-store-models"}
    )
    pod = init_job(job, m.HUB, m.DOMAIN)["spec"]["template"]["spec"]
    fetching, making = pod["initContainers"]
    (handing_in,) = pod["containers"]
    assert (fetching["image"], making["image"], handing_in["image"]) == ("hub", job.spec.task.image, "hub")
    assert tuple(fetching["command"]) == ("/opt/fedloom/bin/python", "-I", "-m", "fedaggregator.fetch")
    paths = [[mount["mountPath"] for mount in each["volumeMounts"]] for each in (fetching, making, handing_in)]
    assert paths[0] == [names.PATH_IMPORT, names.PATH_STORE_CREDENTIALS, names.PATH_TMP]
    assert paths[1] == [names.PATH_INIT, names.PATH_IMPORT, names.PATH_TMP]
    assert names.PATH_IMPORT not in paths[2]
    assert next(each for each in making["volumeMounts"] if each["name"] == "import")["readOnly"] is True
    assert {"secretName": "fedloom-store-models", "defaultMode": 0o440} in [v.get("secret") for v in pod["volumes"]]
    assert len({volume["name"] for volume in pod["volumes"]}) == len(pod["volumes"])
    said = environment(fetching)
    assert said[names.ENV_IMPORT_URI] == "s3://bucket/models/a.pt?region=eu-central-1"
    assert environment(making)[names.ENV_IMPORT_FILE] == said[names.ENV_IMPORT_FILE]
    assert environment(making)[names.ENV_IMPORT_SHA256] == "a" * 64
    assert names.ENV_IMPORT_URI not in environment(making), "a URI may be one that is signed"
    assert fetching["securityContext"] == making["securityContext"]


def test_an_initial_model_of_the_image_is_not_fetched():
    pod = init_job(given(uri="/opt/models/a.pt"), m.HUB, m.DOMAIN)["spec"]["template"]["spec"]
    (making,) = pod["initContainers"]
    assert environment(making)[names.ENV_IMPORT_FILE] == "file:/opt/models/a.pt"


def test_another_initial_model_is_another_job():
    made = {init_job(given(uri=uri), m.HUB, m.DOMAIN)["metadata"]["name"] for uri in ("/a", "/b", "https://a/b")}
    assert len(made | {init_job(s.job(), m.HUB, m.DOMAIN)["metadata"]["name"]}) == 4


def test_the_init_step_is_told_the_widths_of_all_sub_models():
    widths = [{"selector": {}, "modelWidth": width} for width in ("0.5", "1", "0.25", "0.50")]
    made = {
        name: init_job(s.job(**spec), m.HUB, m.DOMAIN)
        for name, spec in {"narrow": {"clients": {"overrides": widths}}, "whole": {}}.items()
    }
    said = {name: environment(each["spec"]["template"]["spec"]["initContainers"][0]) for name, each in made.items()}
    assert said["narrow"][names.ENV_WIDTHS] == "[0.25, 0.5]"
    assert names.ENV_WIDTHS not in said["whole"]
