"""From a job's creation being acknowledged until the last of its children exists; p95 over 100 jobs of 4 sites.

One client creates the jobs one after another without a pause on a real API server (etcd and kube-apiserver alone on
this machine), one operator process acts on them. Children: aggregator Deployment, Service, ServiceAccount, Role,
RoleBinding, ConfigMap, NetworkPolicy, store claim, its Secret and one per site, init Job, and a training Job per
site: 18 objects.
A child exists when a watch of the bench first hears of it. All jobs are there long before the first thousand writes
are done, so this is a queue: the figure is 0.95 x 1800 writes over the rate that two cores give.

The peer is the same queue without an operator: afterwards, the same 1800 objects under another name and in another
namespace, created job by job with the operator's own HTTP client, one after another; p95 of the same waits.
"""

import time

from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.kube_config import load_kube_config

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.connection import Connection
from tests.bench.bench import Bench
from tests.bench.fleet import FIRST, JOBS, NAMESPACE, Fleet
from tests.bench.kube import path
from tests.bench.rows import Row, percentile

BARE = "bench-bare"


def measure(bench: Bench) -> Row:
    """The row."""
    fleet = bench.fleet
    waits = fleet.waits(FIRST)
    print(f"   first {waits[0]:.2f} s, median {percentile(waits, 0.5):.2f} s, last {waits[-1]:.2f} s")
    return Row("apply_to_children_p95_s", percentile(waits, 0.95), "s", percentile(_bare(fleet), 0.95))


def _bare(fleet: Fleet) -> list[float]:
    """The waits when a plain client creates copies of all children, as if each job had arrived when it did."""
    arrivals = sorted(fleet.acknowledged.values())[:JOBS]
    copies = _copies(fleet)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BARE}}
    fleet.kube.apply(f"/api/v1/namespaces/{BARE}", namespace)
    client, started, waits = _operators_client(fleet), time.monotonic(), []
    for arrival, bodies in zip(arrivals, copies, strict=True):
        for body in bodies:
            client.request("POST", path(body["kind"], BARE), body)
        waits.append(time.monotonic() - started - (arrival - arrivals[0]))
    return waits


def _operators_client(fleet: Fleet) -> Connection:
    configuration = Configuration()
    load_kube_config(str(fleet.kube.cluster.kubeconfig), client_configuration=configuration)
    return Connection(configuration, RESTClientObject(configuration).pool_manager)


def _copies(fleet: Fleet) -> list[list[Json]]:
    """Children of each job, as one would create them."""
    jobs: dict[str, list[Json]] = {}
    for kind in fleet.children:
        listed = fleet.kube.get(path(kind, NAMESPACE))
        for body in listed["items"]:
            if job := body["metadata"].get("labels", {}).get(names.LABEL_JOB):
                jobs.setdefault(job, []).append(_copy(body | {"kind": kind, "apiVersion": listed["apiVersion"]}))
    return [jobs[name] for name in sorted(fleet.acknowledged)[:JOBS]]


def _copy(body: Json) -> Json:
    labels = {
        k: v for k, v in body["metadata"]["labels"].items() if k != names.LABEL_MANAGED_BY
    }  # not for the operator
    metadata = {"name": body["metadata"]["name"], "labels": labels}
    copy = {key: value for key, value in body.items() if key != "status"} | {"metadata": metadata}
    spec = dict(copy.get("spec", {}))
    if body["kind"] == "Service":
        copy["spec"] = {key: value for key, value in spec.items() if not key.startswith("clusterIP")}
    if body["kind"] == "Job":
        labels = spec["template"]["metadata"]["labels"]
        mine = {key: value for key, value in labels.items() if "controller-uid" not in key and "job-name" not in key}
        template = spec["template"] | {"metadata": {"labels": mine}}
        metadata["labels"] = {k: v for k, v in metadata["labels"].items() if "controller-uid" not in k}
        copy["spec"] = {k: v for k, v in spec.items() if k != "selector"} | {"template": template}
    return copy
