"""A backup read as the store that it was made of: fedstore.history walks its chain. Used by restore.py, verify.py and the command line."""

from collections.abc import Iterator

from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.store import Head as HeadRecord
from fedbackup import manifest
from fedbackup.archive import Archive, Found
from fedbackup.copying import DESTINATION
from fedbackup.errors import NotRestorableError, Reason, told
from fedstore import history
from fedstore.errors import HistoryDamagedError, MissingError
from fedstore.history import Link
from fedstore.objectstore import Head


class Archived:
    """The records of a backup under the keys that they had; what is read is checked."""

    def __init__(self, archive: Archive, found: Found) -> None:
        self._archive, self.layout = archive, found.manifest.layout
        self._entries = {entry.path: entry for entry in found.manifest.entries}

    def get(self, key: str) -> bytes:
        """As the port says. NotRestorableError when the content is damaged or lost."""
        entry = self._entries.get(self.layout.inside(key) or "")
        if entry is None:
            raise MissingError(f"{key} is not in the backup")
        where = self._archive.object_key(entry.sha256)
        try:
            with told(DESTINATION):
                data = self._archive.store.get(where) if self._archive.store.size(where) is not None else b""
        except MissingError:
            data = b""
        if manifest.digest(data) != entry.sha256:
            text = f"{where}, which is {entry.path}, is lost or damaged: its SHA-256 is {manifest.digest(data)}"
            raise NotRestorableError(Reason.BACKUP_DAMAGED, text, (entry.sha256,))
        return data

    def keys(self, prefix: str) -> Iterator[str]:
        """As the port says."""
        return iter(sorted(key for path in self._entries if (key := self.layout.at(path)).startswith(prefix)))

    def size(self, key: str) -> int | None:
        """As the port says."""
        entry = self._entries.get(self.layout.inside(key) or "")
        return entry.size if entry else None

    def head(self, key: str) -> Head | None:
        """As the port says."""
        data = self.get(key)
        return Head(data, manifest.digest(data))

    def head_record(self) -> HeadRecord:
        """HEAD."""
        try:
            return HeadRecord.stored(self.get(self.layout.head))
        except (DamagedRecordError, MissingError) as error:
            raise NotRestorableError(Reason.BACKUP_DAMAGED, f"{manifest.HEAD}: {error}") from error
        except NewerRecordError as error:
            raise NotRestorableError(Reason.VERSION_TOO_OLD, f"{manifest.HEAD}: {error}") from error

    def links(self) -> Iterator[Link]:
        """The chain, newest first. NotRestorableError when it is not whole."""
        try:
            yield from history.chain(self, self.layout, self.head_record())
        except HistoryDamagedError as error:
            raise NotRestorableError(Reason.BACKUP_DAMAGED, str(error)) from error
        except NewerRecordError as error:
            raise NotRestorableError(Reason.VERSION_TOO_OLD, str(error)) from error
