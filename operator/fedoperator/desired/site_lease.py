"""The Lease that is a site's heartbeat. Owned by its FLClient; `renewTime` and holder belong to who hears from the site."""

from fedapi import names
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json
from fedoperator.desired.identity import client_metadata


def site_lease(client: FLClient) -> Json:
    """The site's Lease as the operator applies it: without renewTime, which would make the site look alive."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": client_metadata(client, names.site_lease_name(client.metadata.name)),
        "spec": {"leaseDurationSeconds": names.SITE_LEASE_ACTIVE_S},
    }
