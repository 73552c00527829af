"""The site's state as files of its volume: staged by a training, current once its update was committed. No torch here.

    <state>/<job uid>/<client>/state/
        staged-<round>-<attempt>-<update>-<sha256>.safetensors    what the training for this update has left
        current-<round>-<attempt>-<update>-<sha256>.safetensors   the same, of the site's last two committed updates

<update>: SHA-256 of the update; <sha256>: of the file. What the aggregator says of commits is all that decides (protocol:
Assignment.committed). That an update was handed in, refused or dropped decides nothing: answers get lost. It may name the
update before the last, whose state is kept for that: its store was put back, and the round is made again. A name is given
by one rename, so that a killed process leaves either file or the other. Called by agent/work.py, read and written by
site_state.py.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from fedtrainer.training import durable

Update = tuple[int, int]  # round and attempt of an update of this site

RESET_FILE = "reset"  # made by a person who wants to go on with empty state
_NAME = re.compile(r"(staged|current)-(\d+)-(\d+)-([0-9a-f]{64})-([0-9a-f]{64})\.safetensors")


@dataclass(frozen=True)
class StateFile:
    """A state, whose it is, and what its bytes must be."""

    path: Path
    kind: str
    update: Update
    update_sha256: str
    sha256: str


@dataclass(frozen=True)
class Committed:
    """The site's update that was committed last, as the aggregator names it."""

    update: Update
    sha256: str | None  # of the update; an aggregator of before this field does not say it

    def made(self, file: StateFile) -> bool:
        """Whether a state is that of this update, and not of one that had its round and attempt before a store was put back."""
        return file.update == self.update and self.sha256 in (None, file.update_sha256)


class StateFiles:
    """The folder, which need not be there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def current(self, committed: Committed | None) -> StateFile | None:
        """The state of the update that was committed last."""
        newest = self.newest()
        if committed is None or newest is None:
            return None
        files = [newest] if committed.sha256 is None else self._files("current")
        return next((file for file in files if committed.made(file)), None)

    def staged(self, update: Update, update_sha256: str) -> StateFile | None:
        """What the training for an update has left."""
        of = Committed(update, update_sha256)
        return next((file for file in self._files("staged") if of.made(file)), None)

    def newest(self) -> StateFile | None:
        """The newest state that was ever current, whatever was committed."""
        return max(self._files("current"), key=lambda file: file.update, default=None)

    @property
    def reset(self) -> bool:
        """Whether a person has said that a state which cannot be had may be forgotten."""
        return (self.folder / RESET_FILE).exists()

    def stage(self, written: Path, update: Update, update_sha256: str, sha256: str) -> None:
        """A durable file of the folder becomes the staged state of an update, in place of an earlier try's."""
        path = self.folder / f"staged-{update[0]:06d}-{update[1]}-{update_sha256}-{sha256}.safetensors"
        written.replace(path)
        for other in self._files("staged"):
            if other.update == update and other.path != path:
                other.path.unlink(missing_ok=True)
        durable.sync(self.folder, self.folder.parent)

    def put_back(self, written: Path, update: Update, update_sha256: str, sha256: str) -> None:
        """A durable file of the folder becomes current: the state of a committed update, which was lost here."""
        written.replace(self.folder / f"current-{update[0]:06d}-{update[1]}-{update_sha256}-{sha256}.safetensors")
        durable.sync(self.folder, self.folder.parent)

    def promote(self, committed: Committed | None) -> None:
        """The aggregator has committed this update of the site, and none after it: what it staged is current."""
        for file in self._files("staged"):
            if committed and committed.made(file):
                self._reset()
                self._drop_namesakes(file)
                file.path.replace(file.path.with_name(file.path.name.replace("staged", "current", 1)))
                durable.sync(self.folder)
        self._drop_replaced(committed)

    def discard(self, under_way: Update | None) -> None:
        """Updates that are neither committed by now nor under way never will be."""
        for file in self._files("staged"):
            if file.update != under_way:
                file.path.unlink(missing_ok=True)

    def _reset(self) -> None:
        """Forgets, where a person has said so, what was before; it is not meant for what becomes current."""
        if self.reset:
            for file in self._files("current"):
                file.path.unlink(missing_ok=True)
            (self.folder / RESET_FILE).unlink(missing_ok=True)

    def _drop_namesakes(self, staged: StateFile) -> None:
        """What a commit of this round and attempt has left that is void by now: the store was put back, the round made again."""
        for file in self._files("current"):
            if file.update == staged.update and file.path.name != staged.path.name.replace("staged", "current", 1):
                file.path.unlink(missing_ok=True)

    def _drop_replaced(self, committed: Committed | None) -> None:
        """All but the state of the last commit, once it is there, and of the one before."""
        current = self.current(committed)
        if current is None:
            return
        files = self._files("current")
        before = max((f for f in files if f.update < current.update), key=lambda file: file.update, default=None)
        for file in files:
            if file not in (current, before):
                file.path.unlink(missing_ok=True)

    def _files(self, kind: str) -> list[StateFile]:
        try:
            paths = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return []
        found = [(path, match) for path in paths if (match := _NAME.fullmatch(path.name)) and match[1] == kind]
        return [StateFile(path, kind, (int(m[2]), int(m[3])), m[4], m[5]) for path, m in found]


@dataclass(frozen=True)
class OrderState:
    """The site's state as one order has it."""

    files: StateFiles
    committed: Committed | None  # whose state the order starts from
    update: Update | None = None  # whose state it stages; an evaluation stages none
    why_lost: str = ""  # what is to be said where that state is not there
    taken_back: bool = False  # the hub knows of the site's updates, and that none is in the model: it begins anew
    accepted: Update | None = None  # which one the hub has accepted last, where that is in no commit
