"""A folder of credentials (a mounted Secret): one file per variable of the cloud's SDK, and ca.crt. Used by the adapters.

A mounted Secret is exchanged while the process runs, so what was made of the files is made again when they have changed. Without
a folder the SDK looks for credentials itself: workload identity, profiles, its own environment.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, TypeVar

from fedstore.errors import StoreDeniedError

CA_FILE = "ca.crt"
_LOOK_AGAIN_S = 10.0
Made = TypeVar("Made")


def read(folder: Path | None) -> dict[str, str]:
    """The files by name, without white space around their content."""
    if folder is None:
        return {}
    try:
        files = [each for each in folder.iterdir() if each.is_file()]
        return {each.name: each.read_text(encoding="utf-8").strip() for each in files}
    except (OSError, UnicodeDecodeError) as error:
        raise StoreDeniedError(f"the folder of credentials {folder} cannot be read: {error}") from error


class OfCredentials(Generic[Made]):
    """What an adapter makes of the files, a client for example: made again when they have changed."""

    def __init__(
        self,
        folder: Path | None,
        make: Callable[[Mapping[str, str]], Made],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._make, self._clock = folder, make, clock
        self._lock = threading.Lock()
        self._files = read(folder)
        self._made = make(self._files)
        self._looked_at = clock()

    def now(self) -> Made:
        """By the files as they are; they are looked at every ten seconds."""
        with self._lock:
            if self._folder is not None and self._clock() - self._looked_at >= _LOOK_AGAIN_S:
                files = read(self._folder)
                if files != self._files:
                    self._made, self._files = self._make(files), files
                self._looked_at = self._clock()
            return self._made

    def files(self) -> Mapping[str, str]:
        """As they are."""
        self.now()
        return self._files
