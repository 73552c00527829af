"""The NetworkPolicy around a site's ring: gloo and NCCL authenticate nobody, so only the ring's own pods may connect.

On every port, because ranks listen on ports that the kernel chooses. It acts where the cluster's network enforces
policies; elsewhere it is an object without effect. What goes out (to the aggregator, to DNS) is left alone. Pure.
"""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json
from fedoperator.desired import ring
from fedoperator.desired.identity import Identity
from fedoperator.desired.pool import Shape


def ring_policy(spec_job: FederatedJob, client: FLClient) -> Json | None:
    """The policy of a pool of several pods; None for one pod, whose ranks meet on its loopback interface."""
    if Shape.of(client.spec.pool).workers == 1:
        return None
    identity, site = Identity.of(spec_job), client.metadata.name
    pods = {"matchLabels": ring.selector(identity, site)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": identity.metadata(names.ring_service_name(identity.name, site), names.ROLE_TRAINER, site),
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": pods}]}],
        },
    }
