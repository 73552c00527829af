"""A committed model as one whole file, where only a part of it travels: its tensors over those of the initial model.

Called by all that gives a model to a person or a task: `fedloom model pull`, and the verification of a backup. Who fetches the
files checks their digests. Of what stays at the sites, the whole model has the values that every site began with.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from fedapi.wire.message import ObjectRef
from fedcore.tensors import tensorfile
from fedcore.tensors.tensorfile import MalformedTensorFileError, Tensor, TensorFile
from fedstore.blocks import BLOCK_BYTES
from fedstore.errors import ContentMismatchError

Fetch = Callable[[ObjectRef, Path], object]  # leaves a verified file at a path


def pulled(
    fetch: Fetch, model: ObjectRef, initial: ObjectRef | None, target: Path, *, exchanged_alone: bool = False
) -> str:
    """Leaves the model at `target` and returns the file's SHA-256. `initial`: of its commit; `exchanged_alone`: what travels.

    Fails as `fetch` does, with ContentMismatchError where the files are no models, and with OSError where it cannot be written.
    """
    if initial is None or (model.sha256 == initial.sha256) != exchanged_alone:
        fetch(model, target)
        return model.sha256
    with ExitStack() as files:

        def fetched(ref: ObjectRef, name: str) -> Path:
            path = target.with_name(f".{target.name}.{name}")
            files.callback(path.unlink, missing_ok=True)
            fetch(ref, path)
            return path

        whole = fetched(initial, "initial")
        try:
            return exchanged(whole, target) if exchanged_alone else joined(whole, fetched(model, "model"), target)
        except MalformedTensorFileError as error:
            raise ContentMismatchError("Malformed", f"{model.key}: {error}") from error


def joined(initial: Path, model: Path, target: Path) -> str:
    """Writes the tensors of a model over those of the initial model; the SHA-256 of the file."""
    with initial.open("rb") as below, model.open("rb") as above:
        whole, part = table(below), table(above)
        if different := tensorfile.difference(whole.exchanged, part):
            raise MalformedTensorFileError(f"its tensors are not those of the initial model that travel: {different}")
        return _written(target, whole, {**_places(below, whole), **_places(above, part)})


def exchanged(initial: Path, target: Path) -> str:
    """Writes the tensors of an initial model that travel; the SHA-256 of the file."""
    with initial.open("rb") as file:
        part = table(file).exchanged
        return _written(target, part, _places(file, part))


def table(file: BinaryIO) -> TensorFile:
    """The tensors of an open file. MalformedTensorFileError where it is no model."""
    size = file.seek(0, 2)
    file.seek(0)
    return tensorfile.parsed(file.read(tensorfile.header_size(file.read(tensorfile.PREFIX_BYTES), size)), size)


_Places = Mapping[str, tuple[BinaryIO, Tensor]]


def _places(file: BinaryIO, found: TensorFile) -> _Places:
    return {tensor.name: (file, tensor) for tensor in found.tensors}


def _written(target: Path, of: TensorFile, places: _Places) -> str:
    header, whole = tensorfile.canonical_header(of.tensors)
    temporary, digest = target.with_name(f".{target.name}.partial"), hashlib.sha256()
    try:
        with temporary.open("wb") as out:
            for block in _blocks(header, whole, places):
                out.write(block)
                digest.update(block)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _blocks(header: bytes, whole: TensorFile, places: _Places) -> Iterator[bytes]:
    yield header
    for tensor in whole.tensors:
        file, there = places[tensor.name]
        file.seek(there.begin)
        for left in range(there.end - there.begin, 0, -BLOCK_BYTES):
            yield file.read(min(BLOCK_BYTES, left))
