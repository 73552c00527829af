"""The NetworkPolicy around an aggregator: who may connect to which of its ports. Everybody else is kept away.

The sites' port is open to the job's own training and init pods, the port of probes and metrics to monitoring.

It acts where the cluster's network enforces policies; elsewhere it is an object without effect. The kubelet's probes come
from the node, which no policy stops. What goes out (to the API server, to DNS) is left alone: the API server's addresses
are not known here. Pure.
"""

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity


def aggregator_policy(identity: Identity) -> Json:
    """Who may connect to the aggregator. The uid keeps a recreated job's aggregator off its predecessor's pods."""
    roles = {"key": names.LABEL_ROLE, "operator": "In", "values": [names.ROLE_INIT, names.ROLE_TRAINER]}
    own = {"matchLabels": {names.LABEL_JOB_UID: identity.uid}, "matchExpressions": [roles]}
    monitoring = {"namespaceSelector": {"matchLabels": {names.LABEL_MONITORING: "true"}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "spec": {
            "podSelector": {"matchLabels": aggregator.selector(identity)},
            "policyTypes": ["Ingress"],
            "ingress": [
                _open(names.AGGREGATOR_PORT, {"podSelector": own}),
                _open(names.AGGREGATOR_MONITORING_PORT, monitoring),
            ],
        },
    }


def _open(port: int, whom: Json) -> Json:
    return {"from": [whom], "ports": [{"port": port, "protocol": "TCP"}]}
