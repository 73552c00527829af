"""Status as a JSON file, replaced by rename: what the embedded runner reads."""

import json
import os
from pathlib import Path

from fedaggregator.errors import StatusUnavailableError
from fedapi.jsonvalue import JsonView


class StatusFile:
    """Writes the status object to a path."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, status: JsonView) -> None:
        """Writes beside the file, then renames."""
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(status, indent=1))
            beside.replace(self._path)
        except OSError as error:
            raise StatusUnavailableError(f"{self._path}: {error.strerror}") from error

    def last(self) -> JsonView:
        """What the file says; one that cannot be read says nothing."""
        try:
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def heard(self, client: str, ago_s: float) -> None:
        """Nobody reads heartbeats here."""

    def job_deleted(self) -> bool:
        """Nobody tells here: a job goes on when its manifest is run again."""
        return False
