"""The headless Service that gives the pods of a site's ring their names, from their start on. Pure."""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json
from fedoperator.desired import ring
from fedoperator.desired.identity import Identity
from fedoperator.desired.pool import Shape


def ring_service(spec_job: FederatedJob, client: FLClient) -> Json | None:
    """The Service of a pool of several pods; None for one pod, which needs no name.

    Names are published before pods are ready: workers find each other while the ring forms.
    """
    if Shape.of(client.spec.pool).workers == 1:
        return None
    identity, site = Identity.of(spec_job), client.metadata.name
    port = {"name": "ring", "port": names.RING_PORT, "targetPort": names.RING_PORT, "protocol": "TCP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": identity.metadata(names.ring_service_name(identity.name, site), names.ROLE_TRAINER, site),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": ring.selector(identity, site),
            "ports": [port],
        },
    }
