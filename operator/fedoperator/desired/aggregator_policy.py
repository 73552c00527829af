"""The NetworkPolicy around an aggregator: its port is open to the job's own training pods and to monitoring, to nobody else.

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
    own = {names.LABEL_JOB_UID: identity.uid, names.LABEL_ROLE: names.ROLE_TRAINER}
    allowed: list[Json] = [
        {"podSelector": {"matchLabels": own}},
        {"namespaceSelector": {"matchLabels": {names.LABEL_MONITORING: "true"}}},
    ]
    port = {"port": names.AGGREGATOR_PORT, "protocol": "TCP"}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(identity.aggregator, names.ROLE_AGGREGATOR),
        "spec": {
            "podSelector": {"matchLabels": aggregator.selector(identity)},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": allowed, "ports": [port]}],
        },
    }
