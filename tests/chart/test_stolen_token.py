"""What a thief of the operator's token can do with the policies, on a real API server: what docs/security.md says, no more.

Requests are made as the operator's service account. RBAC allows each of them; the chart's admission policies judge.
"""

import copy
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.crd.job_status import OPERATOR_LEAVES, FederatedJobStatus
from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import ObservedClient
from fedoperator.decide.job import decide
from fedoperator.desired import access, aggregator
from fedoperator.desired.certificate import Issuer, certificate
from fedoperator.desired.identity import Identity
from fedoperator.desired.ring_policy import ring_policy
from fedoperator.desired.ring_service import ring_service
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.desired.training_job import training_job
from tests.chart.rendering import VALUES, template_text
from tests.chart.server import HEART, NAMESPACE, OPERATOR, RELEASE, apply, release
from tests.cluster.errors import ClusterError
from tests.integration.fedoperator.certmanager import NAME as CERTIFICATES
from tests.integration.fedoperator.certmanager import definition as certificates
from tests.integration.pools.jobset_resource import NAME as JOBSETS
from tests.integration.pools.jobset_resource import definition
from tests.unit.fedoperator import samples as s
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.apiserver

HERE, ELSEWHERE = "hospital-a", "elsewhere"
NOT_OURS = "the operator changes and deletes objects of Fedloom's alone"
NO_JOB = "no params found for policy binding"


@pytest.fixture
def heart(cluster, installed):
    """A FederatedJob in hospital-a, as the operator sees it."""
    apply(cluster, HEART)
    body = json.loads(cluster.kubectl("get", "fj", "heart", "-n", HERE, "-o", "json"))
    job = FederatedJob.parse(body)
    settle(cluster, aggregator.service(Identity.of(job)))
    names_ = [site.metadata.name for site in sites()]
    identity = Identity.of(job)
    for role in (access.aggregator_role(identity, names_, fenced=True), access.backup_role(identity, names_)):
        apply(cluster, role, user=OPERATOR)
    yield job
    cluster.kubectl("delete", "fj", "heart", "-n", HERE)


def settle(cluster, service):
    """Waits until both policies are at work: the one refuses elsewhere, the other has seen the job."""
    foreign = changed(service, "metadata.namespace", ELSEWHERE)
    until(
        lambda: NO_JOB in refusal(cluster, foreign) and not refusal(cluster, service),
        why=lambda: (refusal(cluster, foreign), refusal(cluster, service)),
    )


def refusal(cluster, body, user=OPERATOR):
    """What the API server says against a creation; empty when it would be admitted."""
    words = ("create", "--dry-run=server", "-f", "-", "-o", "name", *(("--as", user) if user else ()))
    try:
        cluster.kubectl(*words, stdin=yaml.safe_dump(body))
    except ClusterError as error:
        return str(error).partition(" failed with ")[2]
    return ""


def changed(body, path, value):
    body = copy.deepcopy(body)
    node, (*parents, last) = body, path.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    if value is None:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value
    return body


def sites():
    def made(name, **pool):
        metadata = {"name": name, "namespace": HERE, "uid": f"uid-{name}"}
        volumes = [
            {"name": "d", "persistentVolumeClaim": {"claimName": "scans"}},
            {"name": "r", "configMap": {"name": "rows"}},
        ]
        entrusted = {"keySecretRef": {"name": "fedloom-state-key-a"}}
        spec = {"provider": "GCP", "pool": pool, "data": {"volumes": volumes}, "entrustedState": entrusted}
        spec |= {"identity": {"keys": [{"publicKey": "A" * 43 + "="}]}}
        return FLClient.parse({"metadata": metadata, "spec": spec})

    gpu = {"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 2}
    tpu = {"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}}
    return made("cpu"), made("ring", workers=2, queueName="q"), made("gpu", **gpu), made("tpu", **tpu)


def in_buckets(job):
    """The same job with all that can be in buckets there, and made from a backup of another."""
    data = {"volumes": [{"name": "r", "configMap": {"name": "rows"}}]}
    secret = {"credentialsSecretRef": {"name": "fedloom-store-a"}}
    here = {"bucket": "models", "region": "eu", "conditionalWrites": "LeaseFenced"}
    here |= {"roleARN": "arn:aws:iam::123456789012:role/r"}
    spec = {
        "storage": {"s3": here | secret},
        "backup": {
            "everyRounds": 1,
            "verify": {"schedule": "@daily", "data": data},
            "destination": {"azure": {"account": "abc", "container": "copies"} | secret},
        },
        "restoreFrom": {"source": {"gcs": {"bucket": "lost"} | secret}, "backup": "hospital-a/lost"},
    }
    return FederatedJob.parse({"metadata": job.metadata.dump(), "spec": job.spec.dump() | spec})


def given(job):
    """The same job with a model of the user's, from a bucket."""
    model = {"uri": "s3://models/a", "sha256": "0" * 64, "credentialsSecretRef": {"name": "fedloom-store-a"}}
    spec = job.spec.dump()
    return FederatedJob.parse(
        {"metadata": job.metadata.dump(), "spec": spec | {"task": spec["task"] | {"initialModel": model}}}
    )


def test_all_that_the_operator_makes_is_admitted(cluster, heart):
    later = in_buckets(heart).model_copy(update={"status": FederatedJobStatus.read(s.in_round())})
    objects = [
        *decide(s.observe(heart, sites()), s.NOW).objects,
        *decide(s.observe(in_buckets(heart), sites()), s.NOW).objects,  # a restore
        *decide(s.observe(later, sites()), s.NOW).objects,  # a backup because of rounds
        *decide(s.observe(given(heart), sites()), s.NOW).objects,  # an initial model from a bucket
        *(o for site in sites() for o in decide_client(ObservedClient(site, None), s.NOW).objects),
    ]
    for site in sites():
        objects += [made for made in (ring_service(heart, site), ring_policy(heart, site)) if made]
        objects.append(training_job(heart, site, "cluster.local"))
    assert {o["kind"] for o in objects} >= {
        "Deployment",
        "Job",
        "NetworkPolicy",
        "Role",
        "Lease",
        "PersistentVolumeClaim",
        "CronJob",
    }
    refused = [said for o in objects if (said := refusal(cluster, dict(o)))]
    there = ('"heart-aggregator" already exists', '"heart-fedloom-backup" already exists')  # their Roles
    assert [said for said in refused if not any(words in said for words in there)] == []


POD = "spec.template.spec"
CRON_POD = "spec.jobTemplate.spec.template.spec"
CONTAINER = f"{POD}.containers.0"
OTHERS = [
    # (object, what is changed, words of the refusal)
    ("deployment", "metadata.namespace", "kube-system", NO_JOB),
    ("deployment", "metadata.namespace", ELSEWHERE, NO_JOB),
    ("job", "metadata.namespace", ELSEWHERE, NO_JOB),
    ("service", "metadata.namespace", "default", NO_JOB),
    ("deployment", "metadata.labels", {}, "objects with the label app.kubernetes.io/managed-by: fedloom alone"),
    ("job", "metadata.ownerReferences", [], "belong to a FederatedJob or an FLClient alone"),
    ("deployment", f"{POD}.serviceAccountName", "builder", "runs as the service account of an aggregator"),
    ("deployment", f"{POD}.serviceAccountName", None, "runs as the service account of an aggregator"),
    ("job", f"{POD}.serviceAccountName", "builder", "other pods of the operator have no token"),
    ("job", f"{POD}.automountServiceAccountToken", True, "other pods of the operator have no token"),
    ("job", f"{POD}.hostNetwork", True, "without root and without the node's namespaces"),
    ("job", f"{POD}.hostPID", True, "without root and without the node's namespaces"),
    ("job", f"{POD}.nodeName", "control-plane", "without root and without the node's namespaces"),
    ("job", f"{POD}.securityContext.runAsNonRoot", False, "without root and without the node's namespaces"),
    ("job", f"{CONTAINER}.securityContext", {}, "unprivileged and take no variables from Secrets"),
    ("job", f"{CONTAINER}.securityContext.capabilities", {"add": ["SYS_ADMIN"]}, "unprivileged"),
    # a container's own word counts more than its pod's
    ("job", f"{CONTAINER}.securityContext.runAsNonRoot", False, "unprivileged"),
    ("job", f"{CONTAINER}.securityContext.runAsUser", 0, "unprivileged"),
    ("deployment", f"{CONTAINER}.securityContext.seccompProfile", {"type": "Unconfined"}, "unprivileged"),
    ("deployment", f"{CONTAINER}.securityContext.appArmorProfile", {"type": "Unconfined"}, "unprivileged"),
    ("job", f"{POD}.securityContext.seccompProfile", {"type": "Unconfined"}, "without root and without the node's namespaces"),
    ("job", f"{POD}.securityContext.appArmorProfile", {"type": "Unconfined"}, "without root and without the node's namespaces"),
    ("job", f"{CONTAINER}.ports", [{"containerPort": 1, "hostPort": 1}], "unprivileged"),
    ("job", f"{CONTAINER}.envFrom", [{"secretRef": {"name": "db"}}], "take no variables from Secrets"),
    ("job", f"{CONTAINER}.env.0", {"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "p"}}}, "take no variables"),
    ("job", f"{POD}.initContainers", [{"name": "i", "image": "i"}], "unprivileged"),
    ("job", f"{POD}.volumes.0", {"name": "credentials", "hostPath": {"path": "/"}}, "Fedloom's own Secrets alone"),
    ("job", f"{POD}.volumes.0", {"name": "credentials", "secret": {"secretName": "db"}}, "Fedloom's own Secrets alone"),
    (
        "job",
        f"{POD}.volumes.0",
        {"name": "credentials", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
        "Fedloom's own Secrets alone",
    ),
    ("job", f"{CONTAINER}.securityContext.capabilities.drop", [], "drop all capabilities"),
    ("job", f"{POD}.securityContext.sysctls", [{"name": "net.core.somaxconn", "value": "9"}], "change nothing of the kernel"),
    ("job", f"{POD}.securityContext.seccompProfile", None, "the runtime's seccomp profile"),
    ("account", "metadata.name", "builder", "the service accounts of aggregators and backups alone"),
    ("account", "metadata.name", "db-backup", "the service accounts of aggregators and backups alone"),
    ("account", "metadata.annotations", {"vault.hashicorp.com/role": "a"}, "no other identity elsewhere"),
    ("role", "rules.0.resourceNames", None, "its job's status, its job's Lease and its sites' heartbeats"),
    ("role", "rules.0.verbs", ["get", "delete"], "its job's status, its job's Lease and its sites' heartbeats"),
    ("role", "rules.2.resourceNames", ["kube-scheduler"], "its job's status, its job's Lease and its sites' heartbeats"),
    ("binding", "subjects", [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "eve"}], "an aggregator's role"),
    ("binding", "subjects.0.namespace", "kube-system", "an aggregator's role"),
    ("binding", "roleRef", {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "fedloom-viewer"}, "an aggregator's role"),
    ("service", "spec.externalIPs", ["10.0.0.1"], "take no address outside the cluster"),
    ("service", "spec.type", "LoadBalancer", "take no address outside the cluster"),
    ("service", "spec.selector", {"app": "db"}, "lead to Fedloom's pods alone"),
    ("policy", "spec.podSelector", {}, "about Fedloom's pods alone"),
    ("cron", "metadata.namespace", ELSEWHERE, NO_JOB),
    ("cron", f"{CRON_POD}.serviceAccountName", "db-backup", "a backup as that of a backup"),
    ("cron", f"{CRON_POD}.serviceAccountName", "heart-aggregator", "a backup as that of a backup"),
    ("cron", f"{CRON_POD}.hostNetwork", True, "without root and without the node's namespaces"),
    ("cron", f"{CRON_POD}.volumes.0", {"name": "config", "hostPath": {"path": "/"}}, "Fedloom's own Secrets alone"),
    ("cron", f"{CRON_POD}.volumes.0", {"name": "config", "secret": {"secretName": "db"}}, "Fedloom's own Secrets alone"),
    (
        "cron",
        f"{CRON_POD}.volumes.0",
        {"name": "config", "projected": {"sources": [{"secret": {"name": "db"}}]}},
        "Fedloom's own Secrets alone",
    ),
    (
        "cron",
        f"{CRON_POD}.volumes.0",
        {"name": "config", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
        "Fedloom's own Secrets alone",
    ),
    ("job", f"{POD}.volumes.0", {"name": "credentials", "secret": {"secretName": "fedloom-store-a"}}, "called fedloom-store-"),
    ("deployment", f"{POD}.volumes.0", {"name": "config", "secret": {"secretName": "fedloom-state-key-a"}}, "called fedloom-state-key-"),
    ("cron", f"{CRON_POD}.volumes.0", {"name": "config", "secret": {"secretName": "fedloom-state-key-a"}}, "called fedloom-state-key-"),
    ("deployment", f"{POD}.volumes.0", {"name": "config", "secret": {"secretName": "fedloom-site-key-a"}}, "and fedloom-site-key-"),
    ("deployment", f"{POD}.volumes.0", {"name": "config", "secret": {"secretName": "fedloom-site-key-a-0123abcd"}}, "and fedloom-site-key-"),
    ("cron", f"{CRON_POD}.volumes.0", {"name": "config", "secret": {"secretName": "fedloom-site-key-a"}}, "and fedloom-site-key-"),
    ("secret", "type", "kubernetes.io/service-account-token", "of type Opaque alone"),
    ("secret", "metadata.name", "db", "of Fedloom's names"),
    ("lease", "metadata.name", "kube-scheduler", "the heartbeats of sites, and those of jobs, alone"),
]  # fmt: skip


def test_nothing_else_is_admitted(cluster, heart):
    kinds = {
        "Deployment": "deployment", "Job": "job", "ServiceAccount": "account", "Role": "role", "RoleBinding": "binding",
        "Service": "service", "NetworkPolicy": "policy", "CronJob": "cron",
    }  # fmt: skip
    made = {}
    for each in decide(s.observe(in_buckets(heart), sites()), s.NOW).objects:
        if each["kind"] in kinds:
            made.setdefault(kinds[each["kind"]], dict(each))  # the first: the aggregator's
    made["job"] = training_job(heart, sites()[0], "cluster.local")
    made["lease"] = dict(decide_client(ObservedClient(sites()[0], None), s.NOW).objects[0])
    identity = Identity.of(heart)
    metadata = identity.metadata(identity.secret, names.ROLE_AGGREGATOR)
    metadata["annotations"] = {"kubernetes.io/service-account.name": "builder"}  # of use with another type alone
    made["secret"] = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}
    role = changed(made["role"], "metadata.name", "other-aggregator")  # its own is there already
    assert {n: said for n, body in (made | {"role": role}).items() if (said := refusal(cluster, body))} == {}
    asked = [
        (f"{name} {path}={value}", words, refusal(cluster, changed(made[name], path, value)))
        for name, path, value, words in OTHERS
    ]
    otherwise = "\n".join(f"{what}: {said or 'admitted'}" for what, words, said in asked if words not in said)
    assert not otherwise, otherwise


def test_objects_of_others_are_neither_changed_nor_deleted_and_ours_are(cluster, heart):
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "theirs", "namespace": HERE},
        "data": {"a": "b"},
    }
    ours = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": Identity.of(heart).metadata("ours", "aggregator")}
    apply(cluster, foreign, ours)
    labelled = '{"metadata": {"labels": {"app.kubernetes.io/managed-by": "fedloom"}}}'
    apply(cluster, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": foreign["metadata"]})
    patch = ("--type=merge", "-p", labelled)
    for words in (("patch", "cm", "theirs", *patch), ("delete", "cm", "theirs"), ("patch", "lease", "theirs", *patch)):
        with pytest.raises(ClusterError, match=NOT_OURS):
            cluster.kubectl("-n", HERE, *words, "--as", OPERATOR)
    # a store that was restored by hand is the job's by its name; any other claim is not
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    for name in (store := "heart-store-0a1b2c3d", "scans"):
        metadata = {"name": name, "namespace": HERE}
        apply(cluster, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})
    cluster.kubectl("-n", HERE, "patch", "pvc", store, *patch, "--as", OPERATOR)
    with pytest.raises(ClusterError, match=NOT_OURS):
        cluster.kubectl("-n", HERE, "patch", "pvc", "scans", *patch, "--as", OPERATOR)
    cluster.kubectl("-n", HERE, "delete", "pvc", "--all", "--wait=false")
    # a label that was lost by accident comes back, and what is the job's can be deleted
    cluster.kubectl("-n", HERE, "label", "cm", "ours", "app.kubernetes.io/managed-by-")
    cluster.kubectl("-n", HERE, "patch", "cm", "ours", "--type=merge", "-p", '{"data": {"a": "b"}}', "--as", OPERATOR)
    cluster.kubectl("-n", HERE, "patch", "cm", "ours", "--type=merge", "-p", labelled, "--as", OPERATOR)
    cluster.kubectl("-n", HERE, "delete", "cm", "ours", "--as", OPERATOR)
    cluster.kubectl("-n", HERE, "delete", "cm/theirs", "lease/theirs")


def test_the_keys_are_made_and_never_changed(cluster, heart):
    metadata = {
        "name": "fedloom-operator-keys",
        "namespace": NAMESPACE,
        "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata}
    gone = ("-n", NAMESPACE, "delete", "secret", metadata["name"], "--ignore-not-found")
    cluster.kubectl(*gone)  # an operator that ran here before has made them
    cluster.kubectl("create", "-f", "-", "--as", OPERATOR, stdin=yaml.safe_dump(secret))
    patch = ("--type=merge", "-p", '{"stringData": {"master.key": "mine"}}')
    with pytest.raises(ClusterError, match="Secrets of Fedloom's names"):
        cluster.kubectl("-n", NAMESPACE, "patch", "secret", metadata["name"], *patch, "--as", OPERATOR)
    cluster.kubectl(*gone)


def test_nobody_else_is_confined(cluster, heart):
    """What people make with Fedloom's label where no job is: a restored volume claim, a pod that reads a model."""
    labels = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "heart-store-0a1b2c3d", "namespace": ELSEWHERE, "labels": labels},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plain", "namespace": ELSEWHERE}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": ELSEWHERE, "labels": labels}}
    assert [refusal(cluster, body, user="") for body in (claim, plain, secret)] == ["", "", ""]


def test_jobsets_are_judged_as_jobs_are(cluster, heart):
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=definition())
    pool = {"accelerator": "TPU", "tpu": {"type": "tpu-v5p-slice", "topology": "2x2x2"}, "workers": 4}
    site = FLClient.parse(
        {"metadata": {"name": "slices", "namespace": HERE, "uid": "u"}, "spec": {"provider": "GCP", "pool": pool}}
    )
    made = training_job(heart, site, "cluster.local", jobset=True)
    assert made["kind"] == "JobSet"
    pod = "spec.replicatedJobs.0.template.spec.template.spec"
    asked = {
        f"{pod}.hostNetwork": (True, "without root and without the node's namespaces"),
        f"{pod}.serviceAccountName": ("builder", "other pods of the operator have no token"),
        f"{pod}.volumes.0": ({"name": "credentials", "hostPath": {"path": "/"}}, "Fedloom's own Secrets alone"),
        "metadata.namespace": (ELSEWHERE, NO_JOB),
    }
    try:
        until(lambda: not refusal(cluster, made), why=lambda: refusal(cluster, made))  # the resource is served
        said = {path: refusal(cluster, changed(made, path, value)) for path, (value, _) in asked.items()}
        assert [path for path, (_, words) in asked.items() if words not in said[path]] == [], said
    finally:
        cluster.kubectl("delete", "crd", JOBSETS)


def test_certificates_are_asked_of_one_issuer_for_fedlooms_own_names(cluster, heart):
    """Who could ask for any name, or into any Secret, would have the company's CA."""
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=certificates())
    flags = ("--set", "certificates.issuerRef.name=company")
    release(cluster, "upgrade", *RELEASE, *flags)
    request = SecretRequest(
        "heart-aggregator-0a1b2c3d", "Aggregator", Identity.of(heart).labels("aggregator"), Identity.of(heart).owner(),
        hosts=aggregator.hosts(Identity.of(heart), "cluster.local"),
    )  # fmt: skip
    made = certificate(request, HERE, "u", Issuer("company"), timedelta(days=1))
    site = certificate(
        replace(request, name="heart-a-0a1b2c3d-site", kind="Site", client="a"),
        HERE,
        "u",
        Issuer("company"),
        timedelta(days=1),
    )
    asked = {
        "spec.secretName": "company-tls", "spec.issuerRef.name": "other", "spec.issuerRef.kind": "Issuer", "spec.isCA": True,
        "spec.dnsNames": ["www.example.com"], "spec.dnsNames.0": "x-aggregator.elsewhere.svc", "spec.commonName": "www",
        "spec.ipAddresses": ["10.0.0.1"], "spec.usages": ["any"], "spec.uris": ["spiffe://company/admin"],
        "spec.secretTemplate": {"labels": {"a": "b"}}, "metadata.name": "company-tls",
    }  # fmt: skip
    try:
        until(
            lambda: (
                not refusal(cluster, made)
                and "asks certificates.issuerRef alone" in refusal(cluster, changed(made, "spec.isCA", True))
            ),
            why=lambda: refusal(cluster, made),
        )
        assert refusal(cluster, site) == ""
        said = {path: refusal(cluster, changed(made, path, value)) for path, value in asked.items()}
        assert [path for path in asked if "asks certificates.issuerRef alone" not in said[path]] == [], said
    finally:
        release(cluster, "upgrade", *RELEASE, "--reset-values")
        cluster.kubectl("delete", "crd", CERTIFICATES)


EVERYTHING = {  # one value for each field of a status
    "conditions": [
        {"type": "Complete", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    ],
    "phase": "Running", "observedGeneration": 1, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:00Z",
    "backupsSince": "2026-01-01T00:00:00Z", "children": {"aggregator": "a"}, "sites": [{"name": "a"}],
    "outcome": {"result": "Failed", "reason": "R", "time": "2026-01-01T00:00:00Z"}, "round": {"current": 1, "total": 2},
    "participants": "1/1", "headlineMetric": "auc 1", "metrics": [{"name": "auc", "value": "1", "round": 1}],
    "bestRound": {"round": 1, "metric": "auc", "value": "1"}, "goodput": "0.9", "clients": [{"name": "a", "state": "Idle"}],
    "model": {"uri": "s3://b/k", "sha256": "0" * 64, "round": 1}, "rollback": {"round": 1, "result": "Done"},
    "trouble": "t", "queueTrouble": "t", "backup": {"round": 1},
    "attestation": {"tee": "TDX", "evidenceSha256": "0" * 64, "updateKeys": {"X25519": "0" * 64}, "time": "2026-01-01T00:00:00Z"},
    "storage": {"checkedTime": "2026-01-01T00:00:00Z", "kept": 1}, "participation": [{"name": "a"}],
    "heldOut": {"round": 1, "sites": "1/1"}, "privacy": {"mode": "Central", "unit": "Site", "epsilon": "1", "delta": "1e-5"}, "evaluation": {"round": 1, "state": "Done"},
    "ledger": {"size": 1, "root": "0" * 64, "publicKey": "k"}, "anomalies": {"total": 1},
    "recordPrivacy": {"unit": "Record", "epsilon": "1", "delta": "1e-5", "site": "a"},
    "release": {"recorded": [{"approver": "ann", "decision": "Approve", "signature": "s"}]},
}  # fmt: skip


def test_every_field_of_a_status_has_one_writer(cluster, heart):
    """That aggregator and backup each may write their own fields and no other, neither to set nor to take away."""
    assert EVERYTHING.keys() == {field.alias or name for name, field in FederatedJobStatus.model_fields.items()}
    identity = Identity.of(heart)
    parties = {"aggregator": access.aggregator(identity), "backup": access.backup(identity)}
    for party in parties.values():
        apply(cluster, access.role_binding(identity, party), user=OPERATOR)

    def write(who, field, value):
        user = f"system:serviceaccount:{HERE}:{parties[who].name}"
        patch = json.dumps({"status": {field: value}})
        try:
            cluster.kubectl(
                *("-n", HERE, "patch", "fj", "heart", "--subresource=status", "--type=merge", "-p", patch),
                *("--as", user, "-o", "name"),
            )
        except ClusterError as error:
            return str(error)
        return ""

    def writable(before, value_of):
        """By whom what: each party begins with that status."""
        found = {}
        for who in parties:
            for whole in (None, before):
                patch = json.dumps({"status": whole})
                cluster.kubectl("-n", HERE, "patch", "fj", "heart", "--subresource=status", "--type=merge", "-p", patch)
            found[who] = {field for field in EVERYTHING if not write(who, field, value_of(field))}
        return found

    until(lambda: "writes status.backup alone" in (write("backup", "phase", "Lost") or "admitted"))
    whose = {
        "aggregator": EVERYTHING.keys() - {*OPERATOR_LEAVES, "backup"},
        "backup": {"backup"},
    }
    assert writable({}, EVERYTHING.get) == whose
    assert writable(EVERYTHING, lambda _: None) == whose


@pytest.fixture(params=["installed", "namespaced"])
def confined(cluster, request):
    """Either mode with the policy about the operator's account: in namespaced mode an administrator applies it."""
    request.getfixturevalue(request.param)
    if request.param == "installed":
        yield
        return
    policies = template_text(
        *("--values", VALUES / "namespaced.yaml"),
        *("--set", "admissionPolicy.inNamespacedMode=true", "-s", "templates/admissionpolicy.yaml"),
    )
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=policies)
    yield
    cluster.kubectl("delete", "-f", "-", stdin=policies)


def test_secrets_of_others_are_neither_changed_nor_told_by_the_answer_to_a_patch(cluster, confined):
    def secret(name, labels):
        metadata = {"name": name, "namespace": HERE, "labels": labels}
        return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "stringData": {"p": "q"}}

    ours = {names.LABEL_MANAGED_BY: names.MANAGED_BY}
    apply(cluster, secret("db", {}), secret("heart-0a1b2c3d", {}), secret("heart-aggregator-0a1b2c3d", ours))

    token = cluster.kubectl("create", "token", OPERATOR.rpartition(":")[2], "-n", NAMESPACE).strip()
    trust = ssl.create_default_context(cafile=str(cluster.dirs.pki / "ca.crt"))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}

    def answer(name, patch="{}", query=""):
        """The answer to a thief: kubectl reads what it patches, which the operator may not."""
        url = f"{cluster.server}/api/v1/namespaces/{HERE}/secrets/{name}{query}"
        request = urllib.request.Request(url, patch.encode(), headers, method="PATCH")
        try:
            return json.loads(opener.open(request, timeout=PATIENCE_S).read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def refused(*words):
        said = answer(*words)
        return NOT_OURS in said.get("message", "") and "data" not in said

    until(lambda: refused("db"), why=lambda: answer("db"))  # the policy is at work
    for name in ("db", "heart-0a1b2c3d"):  # a name like ours makes nothing ours
        assert refused(name)
        assert refused(name, "{}", "?dryRun=All")
        assert refused(name, json.dumps({"metadata": {"labels": ours}}))
    assert answer("heart-aggregator-0a1b2c3d", "{}", "?dryRun=All")["data"], "as the operator renews it"
    cluster.kubectl("-n", HERE, "delete", "secret", "db", "heart-0a1b2c3d", "heart-aggregator-0a1b2c3d")
