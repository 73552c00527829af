"""Facts in a JSON file and objects from a folder of manifests: the embedded runner's."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fedapi.jsonvalue import Json, JsonView
from fedbackup.errors import Reason, StatusRefusedError
from fedbackup.objects import objects_in


class FactsFile:
    """An object with the leaf `backup`, replaced by rename."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def told(self) -> JsonView:
        """The leaf; empty where there is no file."""
        try:
            return json.loads(self._path.read_bytes()).get("backup") or {} if self._path.exists() else {}
        except (OSError, ValueError, AttributeError) as error:
            raise self._refused(error) from error

    def change(self, change: Callable[[JsonView], Json]) -> None:
        """Reads, changes, renames."""
        before = self.told()
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({"backup": change(before)}, indent=1))
            beside.replace(self._path)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> StatusRefusedError:
        return StatusRefusedError(Reason.STATUS_REFUSED, f"{self._path}: {error}")


class ObjectsFolder:
    """Manifests of one FederatedJob and FLClients."""

    def __init__(self, folder: Path, job: str) -> None:
        self._folder, self._job = folder, job

    def of_job(self, clients: Sequence[str]) -> list[Json]:
        """Those that are there; all FLClients, where none is named."""
        return objects_in(self._folder, self._job, clients)
