"""A job's FederatedJob and FLClients in a folder of manifests, as JSON or YAML. Used by adapters/files.py and the command line."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from fedapi import names
from fedapi.jsonvalue import Json
from fedbackup.errors import BadRequestError, Reason

SUFFIXES = (".json", ".yaml", ".yml")


def objects_in(folder: Path, job: str, clients: Sequence[str] = ()) -> list[Json]:
    """Those that are there; all FLClients, where none is named. BadRequestError when a file is no manifest."""
    try:
        there = sorted(folder.iterdir()) if folder.is_dir() else [folder]  # as manifests are read: no sub-folders
        paths = [path for path in there if path.suffix in SUFFIXES and path.is_file()]
        bodies = [body for path in paths for body in yaml.safe_load_all(path.read_bytes())]
    except (OSError, yaml.YAMLError) as error:
        raise BadRequestError(Reason.BAD_SETTINGS, f"manifests in {folder}: {error}") from error
    return [body for body in bodies if isinstance(body, dict) and _is_ours(body, job, clients)]


def _is_ours(body: Json, job: str, clients: Sequence[str]) -> bool:
    name = (body.get("metadata") or {}).get("name")
    if body.get("kind") == names.JOB_KIND:
        return bool(name == job)
    return body.get("kind") == names.CLIENT_KIND and (not clients or name in clients)
