"""What the chart renders, value by value. No cluster needed; helm is."""

import pytest
import yaml

from fedapi import names
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity
from fedoperator.settings import PREFIX, OperatorSettings
from tests.chart.rendering import (
    CHART,
    NAMESPACE,
    VALUES,
    HelmError,
    environment,
    helm,
    of_kind,
    of_values,
    pods,
    template,
    template_text,
    the,
)
from tests.unit.fedoperator import samples

ALL = sorted(path.stem for path in VALUES.glob("*.yaml"))


@pytest.mark.parametrize("values", ALL)
def test_lint(values):
    helm("lint", "--strict", CHART, "--values", VALUES / f"{values}.yaml")


@pytest.mark.parametrize("values", ALL)
def test_rendering_is_stable_and_every_object_says_whose_it_is(values):
    flags = ("--values", VALUES / f"{values}.yaml")
    assert template_text(*flags) == template_text(*flags)
    for each in template(*flags):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "fedloom"
        assert labels["app.kubernetes.io/managed-by"] == "Helm", "the operator watches `fedloom`: not our own objects"
        if values == "everything":
            assert labels["example.com/owner"] == "platform"


@pytest.mark.parametrize("values", ALL)
def test_every_pod_is_restricted(values):
    objects = of_values(values)
    assert len(list(pods(objects))) == 2
    for pod in pods(objects):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert all(set(volume) <= {"name", "emptyDir"} for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]


def rules(objects):
    return [rule for each in objects for rule in each.get("rules") or []]


@pytest.mark.parametrize("values", ALL)
def test_rights_name_everything_and_read_no_secret_but_the_keys(values):
    objects = of_values(values)
    for rule in rules(objects):
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])
        if "secrets" in rule["resources"]:
            made = rule["verbs"] in (["create"], ["create", "patch"])  # patch: an aggregator's certificate is renewed
            assert made or (rule["verbs"] == ["get"] and len(rule["resourceNames"]) == 1)
    keys = [rule for rule in rules(objects) if "secrets" in rule["resources"] and "get" in rule["verbs"]]
    (owner,) = [each for each in objects if any(rule in keys for rule in each.get("rules") or [])]
    assert (owner["kind"], owner["metadata"]["namespace"]) == ("Role", NAMESPACE)
    assert keys[0]["resourceNames"] == [environment(objects)["FEDLOOM_OPERATOR_KEYS_SECRET"]]


def test_namespaced_mode_has_the_same_rights_and_nothing_of_the_cluster():
    objects = of_values("namespaced")
    assert [each["kind"] for each in objects if "namespace" not in each["metadata"]] == []
    assert environment(objects)["FEDLOOM_OPERATOR_WATCH_NAMESPACES"] == "hospital-a,hospital-b"
    cluster = next(
        each for each in of_kind(of_values("default"), "ClusterRole") if each["metadata"]["name"] == "fedloom-operator"
    )
    watched = [each for each in of_kind(objects, "Role") if each["metadata"]["name"] == "fedloom-operator"]
    assert {each["metadata"]["namespace"] for each in watched} == {"hospital-a", "hospital-b"}
    assert all(each["rules"] == cluster["rules"] for each in watched)
    bound = [each for each in of_kind(objects, "RoleBinding") if each["metadata"]["namespace"] != NAMESPACE]
    assert all(
        each["subjects"] == [{"kind": "ServiceAccount", "name": "fedloom-operator", "namespace": NAMESPACE}]
        for each in bound
    )
    assert {each["metadata"]["name"] for each in of_kind(objects, "Role")} >= {"fedloom-viewer", "fedloom-editor"}


def test_policies_are_of_the_cluster_and_in_namespaced_mode_made_where_they_are_asked_for_alone():
    def policies(*words):
        found = [each for each in template(*words) if each["kind"].startswith("ValidatingAdmissionPolicy")]
        bound = {each["spec"]["policyName"] for each in of_kind(found, "ValidatingAdmissionPolicyBinding")}
        assert bound == {each["metadata"]["name"] for each in of_kind(found, "ValidatingAdmissionPolicy")}
        return bound

    asked = ("--set", "admissionPolicy.inNamespacedMode=true")
    namespaced = ("--values", VALUES / "namespaced.yaml")
    of_cluster = {"fedloom-operator", "fedloom-operator-namespaces", "fedloom-operator-status"}
    assert policies() == policies(*asked) == of_cluster
    assert policies(*namespaced) == set()
    own = f"fedloom-operator.{NAMESPACE}"
    assert policies(*namespaced, *asked) == {own, f"{own}-status"}, "several such releases have one name"
    assert policies(*namespaced, *asked, "--set", "admissionPolicy.enabled=false") == set()


@pytest.mark.parametrize("values", ALL)
def test_bindings_lead_to_roles_and_the_account_of_the_release(values):
    objects = of_values(values)

    def place(each, name):
        return each["kind"].removesuffix("Binding"), each["metadata"].get("namespace"), name

    roles = {place(each, each["metadata"]["name"]) for each in objects if each["kind"] in {"Role", "ClusterRole"}}
    accounts = {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
    for each in objects:
        if each["kind"] in {"RoleBinding", "ClusterRoleBinding"}:
            assert place(each, each["roleRef"]["name"]) in roles
            assert {subject["name"] for subject in each["subjects"]} <= accounts
    assert {pod["spec"]["serviceAccountName"] for pod in pods(objects)} == accounts


def test_user_roles_join_the_built_in_ones():
    roles = {
        each["metadata"]["name"]: each["metadata"]["labels"] for each in of_kind(of_values("default"), "ClusterRole")
    }
    joins = {
        name: {key.rpartition("-")[2] for key in labels if "aggregate-to" in key} for name, labels in roles.items()
    }
    assert joins == {
        "fedloom-operator": set(), "fedloom-viewer": {"view", "edit", "admin"}, "fedloom-editor": {"edit", "admin"}
    }  # fmt: skip


@pytest.mark.parametrize("values", ALL)
def test_the_chart_sets_settings_that_the_operator_accepts(values, monkeypatch):
    env = environment(of_values(values))
    known = {f"{PREFIX}{field}".upper() for field in OperatorSettings.model_fields}
    assert {name for name in env if name.startswith(PREFIX)} <= known
    without_registry = {name for name in known if not name.startswith(f"{PREFIX}REGISTRY_")}
    assert without_registry - set(env) == {
        f"{PREFIX}{name}" for name in ("WATCH_SILENCE_S", "WATCH_RECONNECT_S", "SERVICE_ACCOUNT_DIR")
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = OperatorSettings.from_environment()
    assert settings.lease_name in env.values()
    assert settings.keys_secret in env.values()


def test_ports_of_the_settings_are_the_ports_of_the_pod():
    objects = of_values("default")
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"probes": names.OPERATOR_PROBE_PORT, "metrics": names.OPERATOR_METRICS_PORT}
    env = environment(objects)
    assert (env["FEDLOOM_OPERATOR_PROBE_PORT"], env["FEDLOOM_OPERATOR_METRICS_PORT"]) == ("8080", "9090")
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in probes.items()} == {
        "startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"
    }  # fmt: skip
    service = {each["name"]: each["port"] for each in the(objects, "Service")["spec"]["ports"]}
    assert service == ports


@pytest.mark.parametrize(
    ("flags", "operator", "aggregator"),
    [
        ((), "fedloom/operator:0.1.0", "fedloom/aggregator:0.1.0"),
        (("image.registry=r.example.com/x", "image.tag=v2"), "r.example.com/x/fedloom/operator:v2", "r.example.com/x/fedloom/aggregator:v2"),
        (("operator.image.repository=a/o", "operator.image.tag=t"), "a/o:t", "fedloom/aggregator:0.1.0"),
        (("aggregator.image.repository=a/g", f"aggregator.image.digest=sha256:{'a' * 64}"), "fedloom/operator:0.1.0", f"a/g@sha256:{'a' * 64}"),
    ],
)  # fmt: skip
def test_every_image_is_a_value(flags, operator, aggregator):
    objects = template(*[word for flag in flags for word in ("--set", flag)])
    assert {c["image"] for pod in pods(objects) for c in pod["spec"]["containers"]} == {operator}
    assert environment(objects)["FEDLOOM_OPERATOR_AGGREGATOR_IMAGE"] == aggregator


def test_selectors_never_change():
    expected = {
        "app.kubernetes.io/name": "fedloom", "app.kubernetes.io/instance": "fedloom", "app.kubernetes.io/component": "operator"
    }  # fmt: skip
    for objects in (of_values("default"), template("--set", "commonLabels.a=b", "--set", "operator.podLabels.c=d")):
        deployment = the(objects, "Deployment")["spec"]
        assert deployment["selector"]["matchLabels"] == expected
        assert the(objects, "Service")["spec"]["selector"] == expected
        assert expected.items() <= deployment["template"]["metadata"]["labels"].items()


def test_crds_are_kept_unless_told_otherwise():
    def policies(*flags):
        crds = of_kind(template(*flags), "CustomResourceDefinition")
        return [(each["metadata"].get("annotations") or {}).get("helm.sh/resource-policy") for each in crds]

    assert policies() == ["keep", "keep"]
    assert policies("--set", "crds.keep=false") == [None, None]
    assert policies("--set", "crds.enabled=false") == []


def test_crds_are_those_of_the_models():
    bases = {
        body["metadata"]["name"]: body["spec"]
        for body in map(yaml.safe_load, map(open_text, CHART.glob("crd-bases/*")))
    }
    rendered = of_kind(of_values("default"), "CustomResourceDefinition")
    assert {each["metadata"]["name"]: each["spec"] for each in rendered} == bases


def open_text(path):
    return path.read_text()


@pytest.mark.parametrize(("values", "expected"), [("default", None), ("ha", 1), ("everything", 2)])
def test_disruption_budget_comes_with_the_second_replica(values, expected):
    found = of_kind(of_values(values), "PodDisruptionBudget")
    assert [each["spec"]["maxUnavailable"] for each in found] == ([] if expected is None else [expected])


def test_replicas_spread_over_nodes():
    def spread(values):
        return the(of_values(values), "Deployment")["spec"]["template"]["spec"].get("topologySpreadConstraints", [])

    assert [[each["topologyKey"] for each in spread(values)] for values in ("default", "ha", "everything")] == [
        [], ["kubernetes.io/hostname"], ["topology.kubernetes.io/zone"]
    ]  # fmt: skip


def test_network_policy_lets_in_metrics_and_out_only_what_is_needed():
    assert of_kind(of_values("default"), "NetworkPolicy") == []
    policy = the(of_values("everything"), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [(rule["ports"][0]["port"], len(rule["from"])) for rule in policy["ingress"]] == [
        ("metrics", 1),
        ("probes", 1),
    ]
    dns, server = policy["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert server == {
        "ports": [{"port": 6443, "protocol": "TCP"}],
        "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"ipBlock": {"cidr": "fd00::/8"}}],
    }


def test_service_monitor_selects_the_service():
    objects = of_values("everything")
    monitor = of_kind(objects, "ServiceMonitor")[0]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= the(objects, "Service")["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {
        each["name"] for each in the(objects, "Service")["spec"]["ports"]
    }


def test_another_service_monitor_selects_the_services_of_aggregators():
    monitor = of_kind(of_values("everything"), "ServiceMonitor")[1]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = aggregator.service(Identity.of(samples.job()))
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == aggregator.MONITORING
    assert monitor["spec"]["namespaceSelector"] == {"any": True}
    one = template("--set", "metrics.serviceMonitor.enabled=true", "--set", "watchNamespaces={a}")
    assert of_kind(one, "ServiceMonitor")[1]["spec"]["namespaceSelector"] == {"matchNames": ["a"]}


def test_openshift_chooses_the_user():
    objects = template("--set", "operator.runAsUser=null", "--set", "operator.runAsGroup=null")
    found = [pod["spec"]["securityContext"] for pod in pods(objects)]
    assert found == [{"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}] * 2


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("operator.replicas=two", "/operator/replicas"),
        ("operator.replicas=-1", "/operator/replicas"),
        ("operator.imagee=x", "imagee"),
        ("replicas=2", "replicas"),
        ("operator.image.tag=a b", "/operator/image/tag"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("operator.logLevel=LOUD", "/operator/logLevel"),
        ("operator.runAsUser=0", "/operator/runAsUser"),
        ("operator.resources.memory=1Gi", "/operator/resources"),
        ("watchNamespaces={Bad_Name}", "/watchNamespaces/0"),
        ("watchNamespaces=all", "/watchNamespaces"),
        ("crds.keep=maybe", "/crds/keep"),
        ("networkPolicy.apiServer.cidrs={everything}", "/networkPolicy/apiServer/cidrs/0"),
        ("operator.leaderElection.renewDeadlineSeconds=15", "operator.leaderElection.renewDeadlineSeconds"),
        ("operator.leaderElection.retryPeriodSeconds=10", "operator.leaderElection.retryPeriodSeconds"),
        ("operator.extraEnv[0].name=FEDLOOM_OPERATOR_WORKERS", "operator.extraEnv: FEDLOOM_OPERATOR_WORKERS"),
        (r"operator.podLabels.app\.kubernetes\.io/name=x", "operator.podLabels: the label app.kubernetes.io/name"),
    ],
)
def test_bad_values_are_refused_by_name(flag, words):
    with pytest.raises(HelmError) as refused:
        template("--set", flag)
    assert words in str(refused.value)
