"""A real API server for the chart: what is applied to it, by whom, and with which answer.

Used by the fixtures in conftest.py and by the tests that need the server; nothing is asserted here.
"""

import json

import yaml

from fedapi import names
from fedapi.crd.manifest import definitions
from tests.chart.rendering import CHART, NAMESPACE, helm
from tests.cluster.errors import ClusterError
from tests.waiting import until

OPERATOR = f"system:serviceaccount:{NAMESPACE}:fedloom-operator"
SITES = ("hospital-a", "hospital-b")
RELEASE = ("fedloom", CHART, "--namespace", NAMESPACE)
HEART = {
    "apiVersion": names.API_VERSION,
    "kind": names.JOB_KIND,
    "metadata": {"name": "heart", "namespace": "hospital-a"},
    "spec": {"task": {"entrypoint": "heart:task", "image": "example.com/heart:1"}, "rounds": 1},
}
SERVICE_MONITOR = {  # a stand-in for the Prometheus operator's own definition
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
    "spec": {
        "group": "monitoring.coreos.com",
        "scope": "Namespaced",
        "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


def apply(cluster, *objects, flags=(), user=""):
    words = ("apply", "--server-side", "-f", "-", "-o", "name", *flags, *(("--as", user) if user else ()))
    return cluster.kubectl(*words, stdin=yaml.safe_dump_all(objects)).split()


def release(cluster, *words, user=""):
    return helm("--kubeconfig", cluster.kubeconfig, *(("--kube-as-user", user) if user else ()), *words)


def allowed(cluster, user, asked):
    """The API server's own answers to (verb, group/resource, namespace, name)."""
    reviews = []
    for verb, what, namespace, name in asked:
        group, resource, *sub = what.split("/")
        attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace, "name": name}
        attributes |= {"subresource": sub[0]} if sub else {}
        reviews.append(
            {
                "apiVersion": "authorization.k8s.io/v1",
                "kind": "SubjectAccessReview",
                "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes},
            }
        )
    said = cluster.kubectl("create", "-f", "-", "-o", "json", stdin=yaml.safe_dump_all(reviews))
    decoder, answers = json.JSONDecoder(), []
    while said := said.strip():
        answer, end = decoder.raw_decode(said)
        answers += answer["items"] if answer["kind"] == "List" else [answer]
        said = said[end:]
    return [answer["status"]["allowed"] for answer in answers]


def may(cluster, user, namespace):
    """Whether the API server has heard of a user's new rights, which takes it a moment: there, and beside the operator."""
    asked = [
        ("patch", "fedloom.dev/federatedjobs/status", namespace, ""),
        ("get", "/secrets", NAMESPACE, "fedloom-operator-keys"),
        ("update", "coordination.k8s.io/leases", NAMESPACE, "fedloom-operator"),
    ]
    return all(allowed(cluster, user, asked))


def established(cluster):
    """Waits until the server serves the custom resources, which it does a moment after their definitions are there."""
    crds = [f"crd/{each['metadata']['name']}" for each in definitions().values()]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", *crds)
    for kind in ("federatedjobs", "flclients"):
        until(lambda kind=kind: cluster.kubectl("get", kind, "-A", "-o", "json"), not_yet=(ClusterError,))
