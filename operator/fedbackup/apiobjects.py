"""The FederatedJob and the FLClients of a backup as manifests for another cluster: the job goes on from this very backup.

Used by the command line. Pure but for the reading.
"""

import json
from collections.abc import Sequence

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedapi.wire.layout import Layout
from fedbackup.archive import Archive, Found
from fedbackup.archived import Archived
from fedbackup.errors import BadRequestError, Reason

_BUCKETS = ("s3", "gcs", "azure")
_OF_THE_CLUSTER = "kubectl.kubernetes.io/"  # annotations


def applicable(archive: Archive, found: Found) -> list[Json]:
    """FLClients, then the job. NotRestorableError when one is damaged; BadRequestError when there is no job in the backup."""
    archived = Archived(archive, found)
    keys = archived.keys(archived.layout.at("api/"))
    bodies = [json.loads(archived.get(key)) for key in keys]
    jobs = [_again(body, found, archived.layout) for body in bodies if body["kind"] == names.JOB_KIND]
    if not jobs:
        text = f"{found.key} was made without manifests: write the FederatedJob by hand, with spec.restoreFrom"
        raise BadRequestError(Reason.NO_BACKUP, text)
    return [*(_as_written(body) for body in bodies if body["kind"] == names.CLIENT_KIND), *jobs]


def secrets_named(bodies: Sequence[JsonView]) -> list[str]:
    """Names of the Secrets that manifests refer to."""
    return sorted({name for body in bodies for name in _secrets(body)})


def _secrets(value: object) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_secrets, value))
    if not isinstance(value, dict):
        return set()
    own = {ref["name"] for field, ref in value.items() if field.endswith("SecretRef") and isinstance(ref, dict)}
    return own.union(*map(_secrets, value.values()))


def _as_written(body: Json) -> Json:
    """Without what the API server and the operator added, and of no namespace."""
    metadata = {"name": body["metadata"]["name"]}
    if labels := body["metadata"].get("labels"):
        metadata["labels"] = labels
    annotations = body["metadata"].get("annotations") or {}
    if kept := {name: value for name, value in annotations.items() if not name.startswith(_OF_THE_CLUSTER)}:
        metadata["annotations"] = kept
    return {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata, "spec": body["spec"]}


def _again(body: Json, found: Found, layout: Layout) -> Json:
    """The job as one that begins with this backup."""
    again, spec = _as_written(body), dict(body["spec"])
    for begun in ("rollbackTo", "restoreFrom"):  # what the lost job had begun with or gone back to is in its history
        spec.pop(begun, None)
    spec["task"] = {name: value for name, value in spec.get("task", {}).items() if name != "initialModel"}
    restore = {"source": _source(body, layout), "backup": found.key, "publicKey": found.manifest.public_key}
    return again | {"spec": spec | {"restoreFrom": restore}}


def _source(body: Json, layout: Layout) -> Json:
    """Where the lost job had its backups: without a bucket on a claim, which goes by its uid."""
    destination: Json = (body["spec"].get("backup") or {}).get("destination") or {}
    buckets = {kind: place for kind, place in destination.items() if kind in _BUCKETS and place}
    return buckets or {"persistentVolumeClaim": {"claimName": names.backup_claim_name(layout.name, layout.uid)}}
