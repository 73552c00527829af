"""The chart's registry of sites: absent by default; its process, the operator's settings and their rights fit together."""

import json
from functools import cache
from pathlib import Path

import pytest

from fedapi import names
from fedoperator.settings import OperatorSettings
from fedregistry.settings import PREFIX, Settings
from tests.chart.rendering import NAMESPACE, HelmError, of_kind, of_values, template
from tests.chart.server import OPERATOR, RELEASE, allowed, apply, established, may, release
from tests.cluster.errors import ClusterError
from tests.waiting import until

VALUES = Path(__file__).with_name("registry.yaml")
NAME = "fedloom-registry"


@cache
def objects():
    return template("--values", VALUES)


def deployment(name):
    (found,) = [each for each in of_kind(objects(), "Deployment") if each["metadata"]["name"] == name]
    return found["spec"]["template"]["spec"]


def env_of(name):
    (container,) = deployment(name)["containers"]
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}


def test_there_is_none_unless_asked_for():
    assert [each["kind"] for each in of_values("default") if each["metadata"]["name"] == NAME] == []
    operators = [
        each for each in of_kind(of_values("default"), "ClusterRole") if "operator" in each["metadata"]["name"]
    ]
    verbs = {
        verb
        for each in operators
        for rule in each["rules"]
        if rule["resources"] == ["flclients"]
        for verb in rule["verbs"]
    }
    assert verbs == {"get", "list", "watch"}


def test_both_processes_accept_their_settings_and_mean_the_same(monkeypatch):
    for name, value in {**env_of("fedloom-operator"), **env_of(NAME)}.items():
        monkeypatch.setenv(name, value)
    operator, registry = OperatorSettings.from_environment(), Settings()
    assert {name for name in env_of(NAME) if name.startswith(PREFIX)} <= {
        f"{PREFIX}{field}".upper() for field in Settings.model_fields
    }
    assert (registry.table, registry.region, registry.create_table) == ("our-sites", "eu-central-1", True)
    assert (registry.backup_every_hours, registry.backup_keep_last) == (6, 3)
    assert operator.registry_url == f"https://{operator.registry_hosts[0]}:{names.REGISTRY_PORT}"
    assert operator.registry_hosts[1:] == ("registry.example.com", "192.0.2.7")
    (entry,) = operator.registry_clients
    assert (entry.client_ids, entry.organizations) == (("hospital-a/*",), ("Charité",))
    (config,) = [each for each in of_kind(objects(), "ConfigMap") if each["metadata"]["name"] == NAME]
    assert json.loads(config["data"]["generations.json"]) == {"hospital-a/ward-1": 2000000}
    assert operator.registry_generations == {"hospital-a/ward-1": 2000000}
    assert operator.registry_secret == NAME


def test_its_pod_is_restricted_and_has_no_right_in_the_cluster():
    spec = deployment(NAME)
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    (container,) = spec["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    bound = [s["name"] for each in objects() if each["kind"].endswith("Binding") for s in each.get("subjects") or ()]
    assert spec["serviceAccountName"] == NAME
    assert NAME not in bound
    mounted = {v["secret"]["secretName"] for v in spec["volumes"] if "secret" in v}
    assert mounted == {NAME, "table-keys"}


def test_only_heartbeats_are_reached_from_outside():
    (service,) = [each for each in of_kind(objects(), "Service") if each["metadata"]["name"] == NAME]
    assert service["spec"]["type"] == "LoadBalancer"
    assert [port["port"] for port in service["spec"]["ports"]] == [names.REGISTRY_PORT]
    (container,) = deployment(NAME)["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"heartbeats": names.REGISTRY_PORT, "monitoring": names.REGISTRY_MONITORING_PORT}


def test_the_operator_may_make_flclients_and_keep_one_more_secret():
    (watched,) = [each for each in of_kind(objects(), "ClusterRole") if each["metadata"]["name"] == "fedloom-operator"]
    (rule,) = [rule for rule in watched["rules"] if rule["resources"] == ["flclients"]]
    assert rule["verbs"] == ["get", "list", "watch", "create"], "never changed, never deleted"
    own = next(each for each in of_kind(objects(), "Role") if each["metadata"]["name"] == "fedloom-operator-own")
    assert {"apiGroups": [""], "resources": ["secrets"], "resourceNames": [NAME], "verbs": ["patch"]} in own["rules"]


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("registry.dynamodb.table=no spaces", "/registry/dynamodb/table"),
        ("registry.service.type=ExternalName", "/registry/service/type"),
        ("registry.clients[0].clientIds={ward}", "/registry/clients/0"),
        ("registry.tokenGenerations.a=-1", "/registry/tokenGenerations"),
        ("registry.hosts={https://x}", "/registry/hosts/0"),
    ],
)
def test_bad_values_are_refused_by_name(flag, words):
    with pytest.raises(HelmError) as refused:
        template("--set", flag)
    assert words in str(refused.value)


SECRET = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": NAME, "namespace": NAMESPACE}}
WARD = {
    "apiVersion": names.API_VERSION,
    "kind": names.CLIENT_KIND,
    "metadata": {"name": "ward-1", "namespace": "hospital-a"},
    "spec": {"provider": "OnPremises", "paused": True},
}


@pytest.fixture
def registered(cluster):
    """A release with the registry; its pods never start here: there are no nodes."""
    release(cluster, "install", *RELEASE, "--values", VALUES)
    established(cluster)
    until(lambda: may(cluster, OPERATOR, "hospital-a"))
    yield
    release(cluster, "uninstall", "fedloom", "--namespace", NAMESPACE)


@pytest.mark.apiserver
def test_admission_lets_the_operator_write_this_secret_and_make_flclients_alone(cluster, registered):
    def create(body):
        return cluster.kubectl("create", "-f", "-", "-o", "name", "--as", OPERATOR, stdin=json.dumps(body)).strip()

    assert create(SECRET) == f"secret/{NAME}"
    renewed = SECRET | {"metadata": SECRET["metadata"] | {"annotations": {"a": "b"}}}
    apply(cluster, renewed, flags=("--force-conflicts",), user=OPERATOR)
    with pytest.raises(ClusterError, match="ValidatingAdmissionPolicy 'fedloom-operator'"):
        create(
            SECRET
            | {
                "metadata": {
                    "name": "another",
                    "namespace": NAMESPACE,
                    "labels": {"app.kubernetes.io/managed-by": "fedloom"},
                }
            }
        )
    with pytest.raises(ClusterError):
        create(SECRET | {"metadata": {"name": NAME, "namespace": "hospital-a"}})
    assert create(WARD) == "flclient.fedloom.dev/ward-1"
    asked = [(verb, "fedloom.dev/flclients", "hospital-a", "ward-1") for verb in ("update", "patch", "delete")]
    assert allowed(cluster, OPERATOR, asked) == [False, False, False]
    cluster.kubectl("delete", "flc", "ward-1", "-n", "hospital-a")
    cluster.kubectl("delete", "secret", NAME, "-n", NAMESPACE)
