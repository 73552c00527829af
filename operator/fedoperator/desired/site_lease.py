"""The Lease that is a site's heartbeat. Owned by its FLClient; `renewTime` and holder belong to who hears from the site."""

from datetime import datetime

from fedapi import names
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json, JsonView
from fedoperator.desired.identity import client_metadata


def site_lease(client: FLClient) -> Json:
    """The site's Lease as the operator applies it: without renewTime, which would make the site look alive."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": client_metadata(client, names.site_lease_name(client.metadata.name)),
        "spec": {"leaseDurationSeconds": names.SITE_LEASE_ACTIVE_S},
    }


def beat_aside(before: Json, after: Json) -> tuple[Json, Json]:
    """Two versions of a Lease without the heartbeat, where all that it says is that an active site still is."""
    was, spec = before.get("spec") or {}, after.get("spec") or {}
    if not _still_active(was.get("renewTime"), spec.get("renewTime")):
        return before, after
    return {**before, "spec": _unbeaten(was)}, {**after, "spec": _unbeaten(spec)}


def _still_active(before: str | None, after: str | None) -> bool:
    if not before or not after:
        return False
    apart = datetime.fromisoformat(after) - datetime.fromisoformat(before)
    return 0 <= apart.total_seconds() < names.SITE_LEASE_ACTIVE_S


def _unbeaten(spec: JsonView) -> Json:
    return {key: value for key, value in spec.items() if key not in ("renewTime", "holderIdentity")}
