"""The disk adapter: objects are files below a root, on one volume that one node writes (ReadWriteOnce).

An object is written to a temporary file, synced, and linked to its name: link(2) fails where the name exists, so
objects are write-once, and nobody sees half of one. HEAD is replaced under a lock: compare, sync, rename, sync of the
folder. Files of deleted small objects are written over for new ones (spare.py). What a killed process left in the temporary folder
is removed by `clean`; a writer that lives, of whatever process, has a lock on its file (locks.py).
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fedapi.wire.message import ObjectRef
from fedstore import locks, writeback
from fedstore.announced import Content
from fedstore.errors import (
    AlreadyExistsError,
    HeadMovedError,
    MissingError,
    StoreFailedError,
    StoreFullError,
)
from fedstore.native import Native, pread
from fedstore.objectstore import DIGEST, Head, checked_key, holds_itself, is_key
from fedstore.spare import SMALL_BYTES, SpareFiles

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TEMPORARY, _SPARE, _LOCKS = ".tmp", ".spare", ".locks"
_WRITE_BACK_BYTES = 8 << 20  # a sync at the end waits for less than twice that


@contextmanager
def _typed_errors(what: str) -> Iterator[None]:
    """Turns OSErrors into this package's errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"{what}: there is no such object") from error
    except OSError as error:
        kind = StoreFullError if error.errno in _FULL else StoreFailedError
        raise kind(f"{what}: {error.strerror} ({errno.errorcode.get(error.errno or 0, '?')})") from error


class DiskWriter:
    """An object in the making, in the temporary folder."""

    def __init__(self, store: "DiskStore", key: str, size: int | None, sha256: str | None) -> None:
        self._store, self._key = store, key
        self._content = Content(key, size, sha256)
        self._begun = 0  # up to where the kernel was told to write to the disk
        self._path, self._fd = store.empty_file() if size is None or size > SMALL_BYTES else store.small_file()
        self._is_there = True

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Appends to the file and the digest."""
        with memoryview(chunk) as view, _typed_errors(self._key):
            self._content.add(view)
            done = 0
            while done < view.nbytes:
                done += os.write(self._fd, view[done:])
            written = self._content.written
            if written - self._begun >= _WRITE_BACK_BYTES:
                writeback.begin(self._fd, self._begun, written - self._begun)
                self._begun = written

    def finish(self) -> ObjectRef:
        """Checks, syncs, links."""
        ref = self.checked()
        with _typed_errors(ref.key):
            self.sync()
            self._store.link(self._path, ref.key, ref.sha256)
        self._named()
        return ref

    def sync(self) -> None:
        """Makes what was written durable; it has no name yet."""
        if os.fstat(self._fd).st_size > self._content.written:  # it was a larger object's
            os.ftruncate(self._fd, self._content.written)
        os.fsync(self._fd)

    def name(self, ref: ObjectRef) -> list[Path]:
        """Gives it its name; the folders that are to be synced, that of the name first."""
        made = self._store.name(self._path, ref.key, ref.sha256)
        self._named()
        return made

    def checked(self) -> ObjectRef:
        """What was written, under its key. ContentMismatchError when it is not what was announced."""
        return self._content.ref()

    def close(self) -> None:
        """Forgets the temporary file; a finished object keeps its own name."""
        os.close(self._fd)
        self._forget()

    def _named(self) -> None:
        """It may be deleted, and its file be written over, before this one is closed."""
        locks.release(self._fd)
        self._forget()

    def _forget(self) -> None:
        if self._is_there:
            self._is_there = False
            with contextlib.suppress(OSError):
                self._path.unlink()


class DiskReader:
    """An open file."""

    def __init__(self, fd: int, key: str) -> None:
        self._fd, self._key = fd, key
        self._bytes = os.fstat(fd).st_size

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._bytes

    @property
    def native(self) -> Native:
        """The file, for compiled code."""
        return Native(pread(), self._fd)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Reads until the buffer is full, which one call mostly does."""
        done = 0
        with contextlib.suppress(OSError):
            done = os.preadv(self._fd, [buffer], offset)
        if done == buffer.nbytes:
            return
        with _typed_errors(self._key):
            while done < buffer.nbytes:
                count = os.preadv(self._fd, [buffer[done:]], offset + done)
                if count == 0:
                    raise StoreFailedError(f"{self._key}: the object ends at {offset + done}, more was expected")
                done += count


class DiskStore:
    """Objects below a root folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        with _typed_errors(str(root)):
            for name in (_TEMPORARY, _LOCKS):
                (self._root / name).mkdir(parents=True, exist_ok=True)
        self._durable_folders: set[Path] = {self._root}
        self._spare = SpareFiles(self._root / _SPARE)

    def clean(self, below: Iterable[str] = ("",)) -> None:
        """Removes what killed writers left, whatever it was to be, and spare files. A writer that lives keeps its own, in other processes too."""
        del below
        with _typed_errors(str(self._root)):
            left = [*(self._root / _TEMPORARY).iterdir(), *self._spare.left()]
        for path in left:
            locks.remove(path)

    def temporary(self) -> Path:
        """A name for a new temporary file."""
        return self._root / _TEMPORARY / secrets.token_hex(16)

    def empty_file(self) -> tuple[Path, int]:
        """A new temporary file, open and locked."""
        while True:
            path = self.temporary()
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            if locks.taken(fd):
                return path, fd

    def small_file(self) -> tuple[Path, int]:
        """One for a small object, which may hold the bytes of a deleted one."""
        return self._spare.taken() or self.empty_file()

    @contextmanager
    def writer(self, key: str, *, size: int | None = None, sha256: str | None = None) -> Iterator[DiskWriter]:
        """Begins an object; see the port."""
        self._path(key.replace(DIGEST, ""))
        with _typed_errors(key):
            writer = DiskWriter(self, key, size, sha256)
        try:
            yield writer
        finally:
            writer.close()

    def put_once(self, key: str, data: bytes) -> ObjectRef:
        """A small object in one call."""
        with self.writer(key, size=len(data)) as writer:
            writer.write(data)
            return writer.finish()

    def put_together(self, objects: Mapping[str, bytes]) -> None:
        """Syncs all of them, links them in their order, then syncs each folder once."""
        with ExitStack() as files:
            writers = [files.enter_context(self.writer(key, size=len(data))) for key, data in objects.items()]
            for writer, data in zip(writers, objects.values(), strict=True):
                writer.write(data)
            with _typed_errors(", ".join(objects)):
                for writer in writers:
                    writer.sync()
                folders = {folder: None for writer in writers for folder in writer.name(writer.checked())}
                self._sync_folders(folders)

    def get(self, key: str) -> bytes:
        """A small object as bytes."""
        with self.reader(key) as reader:
            data = bytearray(reader.size)
            reader.read_into(memoryview(data), 0)
        return bytes(data)

    @contextmanager
    def reader(self, key: str) -> Iterator[DiskReader]:
        """Opens an object; it stays readable even when it is deleted meanwhile."""
        path = self._path(key)
        with self._spare.reading(path):
            with _typed_errors(key):
                fd = _opened(path)
            try:
                yield DiskReader(fd, key)
            finally:
                os.close(fd)

    def size(self, key: str) -> int | None:
        """Bytes of an object."""
        try:
            with self.reader(key) as reader:
                return reader.size
        except MissingError:
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys that begin with this text."""
        folder = prefix.rpartition("/")[0]
        if folder:
            self._path(folder)
        return iter(sorted(key for key in self._below(folder) if key.startswith(prefix)))

    def _below(self, folder: str) -> Iterator[str]:
        """Keys of the files in a folder and its folders. One that is not there, or goes meanwhile, has none."""
        try:
            with _typed_errors(folder or str(self._root)), os.scandir(self._root / folder) as listed:
                entries = [(e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False)) for e in listed]
        except MissingError:
            return
        for name, is_folder, is_file in entries:
            key = f"{folder}/{name}" if folder else name
            if is_folder and is_key(key):
                yield from self._below(key)
            elif is_file and is_key(key):
                yield key

    def delete(self, key: str) -> None:
        """Removes an object."""
        with contextlib.suppress(MissingError), _typed_errors(key):
            path = self._path(key)
            if not self._spare.kept(path):
                path.unlink()

    def head(self, key: str) -> Head | None:
        """The HEAD object."""
        try:
            data = self.get(key)
        except MissingError:
            return None
        return Head(data, hashlib.sha256(data).hexdigest())

    def replace_head(self, key: str, data: bytes, expected: str | None) -> Head:
        """Lock, compare, sync, rename, sync of the folder."""
        path = self._path(key)
        with _typed_errors(key), self._locked(key):
            now = self.head(key)
            if (now.tag if now else None) != expected:
                raise HeadMovedError(f"{key} was replaced by another process")
            made = self._make_folders(path.parent)
            self._replace(path, data)
            self._sync_folders(_unsynced(path, made))
        return Head(data, hashlib.sha256(data).hexdigest())

    def link(self, temporary: Path, key: str, digest: str) -> None:
        """Gives a synced temporary file its name, durably."""
        self._sync_folders(self.name(temporary, key, digest))

    def name(self, temporary: Path, key: str, digest: str) -> list[Path]:
        """The same, once; a damaged object that should be this one makes room for it. Returns folders to be synced."""
        path = self._path(key)
        made = self._make_folders(path.parent)
        try:
            os.link(temporary, path)
        except FileExistsError:
            found = _digest(path)
            if found != digest:
                if found and not holds_itself(key, digest):
                    raise AlreadyExistsError(f"{key} holds other content, and objects are written once") from None
                temporary.replace(path)
        return _unsynced(path, made)

    def _path(self, key: str) -> Path:
        path = self._root / checked_key(key)
        if self._through_link(key) and not path.parent.resolve().is_relative_to(self._root):
            raise StoreFailedError(f"{key}: a link leads out of the store")
        return path

    def _through_link(self, key: str) -> bool:
        """Whether a folder of the key is a link."""
        folder = str(self._root)
        for name in key.split("/")[:-1]:
            folder = f"{folder}/{name}"
            if os.path.islink(folder):  # noqa: PTH114 - for every object
                return True
        return False

    def _make_folders(self, folder: Path) -> list[Path]:
        """Makes the folder and its parents; those that are not known to be durable, innermost first."""
        made: list[Path] = []
        while folder not in self._durable_folders:
            made.append(folder)
            folder = folder.parent
        for each in reversed(made):
            each.mkdir(exist_ok=True)
        return made

    def _sync_folders(self, folders: Iterable[Path]) -> None:
        """Makes entries of the folders durable, and with them folders that are new: mostly one write for all of them."""
        for each in folders:
            with self._spare.synced(each):
                _sync_folder(each)
        self._durable_folders.update(folders)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        name = hashlib.sha256(key.encode()).hexdigest()
        fd = os.open(self._root / _LOCKS / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _replace(self, path: Path, data: bytes) -> None:
        temporary, fd = self.empty_file()
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _opened(path: Path) -> int:
    """An object's file, open to be read. A link, a pipe or a folder of its name is no object: FileNotFoundError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe would wait for a writer
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileNotFoundError(errno.ENOENT, "it is not a file") from error
        raise
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise FileNotFoundError(errno.ENOENT, "it is not a file")


def _unsynced(path: Path, made: list[Path]) -> list[Path]:
    """The folders that hold a new name, and new folders on the way to it: innermost first."""
    return [path.parent, *(each.parent for each in made)]


def _digest(path: Path) -> str:
    """Of a file's content; empty for what is no file."""
    try:
        fd = _opened(path)
    except FileNotFoundError:
        return ""
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
