"""The site's state as files of its volume: staged by a training, current once its update was committed. No torch here.

    <state>/<job uid>/<client>/state/
        staged-<round>-<attempt>-<sha256>.safetensors    what the training for this update has left
        current-<round>-<attempt>-<sha256>.safetensors   the same, of the site's update that was committed last

What the aggregator says of commits is all that decides (protocol: Assignment.committed). That an update was handed in,
refused or dropped decides nothing: answers get lost. A name is given by one rename, so that a killed process leaves
either file or the other. Called by agent/work.py, read and written by site_state.py.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

Update = tuple[int, int]  # round and attempt of an update of this site

RESET_FILE = "reset"  # made by a person who wants to go on with empty state
_NAME = re.compile(r"(staged|current)-(\d+)-(\d+)-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class StateFile:
    """A state, whose it is, and what its bytes must be."""

    path: Path
    kind: str
    update: Update
    sha256: str


class StateFiles:
    """The folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self) -> StateFile | None:
        """The state of the last committed update."""
        return max(self._files("current"), key=lambda file: file.update, default=None)

    @property
    def reset(self) -> bool:
        """Whether a person has said that a state which cannot be had may be forgotten."""
        return (self.folder / RESET_FILE).exists()

    def stage(self, written: Path, update: Update, sha256: str) -> None:
        """A durable file of the folder becomes the staged state of an update, in place of an earlier try's."""
        path = self.folder / f"staged-{update[0]:06d}-{update[1]}-{sha256}.safetensors"
        written.replace(path)
        for other in self._files("staged"):
            if other.update == update and other.path != path:
                other.path.unlink(missing_ok=True)
        _sync(self.folder)
        _sync(self.folder.parent)

    def promote(self, committed: Update | None) -> None:
        """The aggregator has committed this update of the site, and none after it: what it staged is current."""
        for file in self._files("staged"):
            if file.update == committed:
                (self.folder / RESET_FILE).unlink(missing_ok=True)  # before: it is not meant for what becomes current
                self._drop_namesakes(file)
                file.path.replace(file.path.with_name(file.path.name.replace("staged", "current", 1)))
                _sync(self.folder)
        self._drop_replaced(committed)

    def discard(self, under_way: Update | None) -> None:
        """Updates that are neither committed by now nor under way never will be."""
        for file in self._files("staged"):
            if file.update != under_way:
                file.path.unlink(missing_ok=True)

    def _drop_namesakes(self, staged: StateFile) -> None:
        """What a commit of this round and attempt has left that is void by now: the store was put back, the round made again."""
        for file in self._files("current"):
            if file.update == staged.update and file.sha256 != staged.sha256:
                file.path.unlink(missing_ok=True)

    def _drop_replaced(self, committed: Update | None) -> None:
        """Earlier states, once that of the last commit is there."""
        files = self._files("current")
        if any(file.update == committed for file in files):
            for file in files:
                if file.update != committed:
                    file.path.unlink(missing_ok=True)

    def _files(self, kind: str) -> list[StateFile]:
        try:
            paths = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        found = [(path, match) for path in paths if (match := _NAME.fullmatch(path.name)) and match[1] == kind]
        return [StateFile(path, kind, (int(match[2]), int(match[3])), match[4]) for path, match in found]


@dataclass(frozen=True)
class OrderState:
    """The site's state as one order has it."""

    files: StateFiles
    committed: Update | None  # whose state the order starts from
    update: Update | None = None  # whose state it stages; an evaluation stages none


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
