"""Facts in a JSON file and objects from a folder of manifests: the embedded runner's."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedbackup.errors import BadRequestError, Reason, StatusRefusedError

SUFFIXES = (".json", ".yaml", ".yml")


class FactsFile:
    """An object with the leaf `backup`, replaced by rename."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def change(self, change: Callable[[JsonView], Json]) -> None:
        """Reads, changes, renames."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            before = json.loads(self._path.read_bytes()).get("backup") or {} if self._path.exists() else {}
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"backup": change(before)}, indent=1))
            beside.replace(self._path)
        except (OSError, ValueError, AttributeError) as error:
            raise StatusRefusedError(Reason.STATUS_REFUSED, f"{self._path}: {error}") from error


class ObjectsFolder:
    """Manifests of one FederatedJob and FLClients."""

    def __init__(self, folder: Path, job: str) -> None:
        self._folder, self._job = folder, job

    def of_job(self, clients: Sequence[str]) -> list[Json]:
        """Those that are there; all FLClients, where none is named."""
        try:
            paths = [path for path in sorted(self._folder.rglob("*")) if path.suffix in SUFFIXES]
            bodies = [body for path in paths for body in yaml.safe_load_all(path.read_bytes())]
        except (OSError, yaml.YAMLError) as error:
            raise BadRequestError(Reason.BAD_SETTINGS, f"{names.ENV_BACKUP_OBJECTS}: {error}") from error
        return [body for body in bodies if isinstance(body, dict) and self._is_ours(body, clients)]

    def _is_ours(self, body: Json, clients: Sequence[str]) -> bool:
        name = (body.get("metadata") or {}).get("name")
        if body.get("kind") == names.JOB_KIND:
            return bool(name == self._job)
        return body.get("kind") == names.CLIENT_KIND and (not clients or name in clients)
