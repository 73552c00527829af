"""Imports the initial model into the store. Blocking; run in a thread."""

import os
import stat
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from fedaggregator.engine import content
from fedaggregator.engine.verified import BLOCK_BYTES
from fedaggregator.errors import FatalError
from fedapi.outcome import Exit
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Layout
from fedcore.tensors.tensorfile import MalformedTensorFileError
from fedstore.objectstore import DIGEST, ObjectStore


def import_initial(store: ObjectStore, layout: Layout, path: Path) -> ObjectRef:
    """Copies the initial model into the store. It must be a tensor file.

    Infinities and NaN are the task's own: constants such as a mask, which a fold leaves as they are. That parameters
    are finite was checked where the model was made, which knows them from buffers.
    """
    with ExitStack() as files:
        file = files.enter_context(_file_of_task(path))
        writer = files.enter_context(store.writer(layout.model(0, DIGEST)))
        buffer = memoryview(bytearray(BLOCK_BYTES))
        while count := file.readinto(buffer):
            writer.write(buffer[:count])
        model = writer.finish()
    try:
        content.read_table(store, model.key)
    except MalformedTensorFileError as error:
        raise FatalError(Exit.BAD_SETTINGS, f"the initial model is not a safetensors file: {error}") from error
    return model


def _file_of_task(path: Path) -> FileIO:
    """A plain file that task code made: a link leads nowhere, and nobody waits for the other end of a pipe."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise FatalError(
            Exit.BAD_SETTINGS, f"the initial model {path.name} cannot be read: {error.strerror}"
        ) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FatalError(Exit.BAD_SETTINGS, f"the initial model {path.name} is not a plain file")
    return FileIO(fd, "rb")
