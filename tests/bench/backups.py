"""A long job in a folder, and what its backups cost: of all of it, and after one more round. Used by the two rows.

Rounds are made by the engine's own records: a chain of commits, models of random bytes in the safetensors form. The peer of
the first backup is `cp` of the same store, and a sync: what nobody can beat who leaves the bytes somewhere else.
"""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.store import Head
from fedbackup.archive import Archive
from fedbackup.create import Maker
from fedbackup.manifest import Manifest, Signer
from fedcore.tensors.tensorfile import Tensor, canonical_header
from fedstore.disk import DiskStore

ROUNDS, MODEL_BYTES = 100, 100 << 20
UID = "0b5c1f9e-0000-4000-8000-000000000001"


@dataclass(frozen=True)
class Backups:
    """What was measured."""

    full_s: float
    copy_s: float
    full: Manifest
    after: Manifest
    round_bytes: int  # that the round between the two has added


def measured(folder: Path, rounds: int = ROUNDS, model_bytes: int = MODEL_BYTES) -> Backups:
    """The row of a job so long; its folder takes three times its bytes for a while."""
    layout, store = Layout("bench", "job", UID), DiskStore(folder / "store")
    tip = None
    for round_ in range(rounds):
        tip = _committed(store, layout, round_, model_bytes, tip)
    os.sync()
    copies = [_copied(folder)]
    archive = Archive(DiskStore(folder / "backups"), layout)
    maker = Maker(store, archive, Signer(bytes(32)))
    began = time.monotonic()
    full = maker.made().manifest
    full_s = time.monotonic() - began
    copies.append(_copied(folder))
    before = _bytes(folder / "store")
    _committed(store, layout, rounds, model_bytes, tip)
    after = maker.made().manifest
    return Backups(full_s, sum(copies) / 2, full, after, _bytes(folder / "store") - before)


def _copied(folder: Path) -> float:
    """Seconds of a plain copy that is on the disk in the end."""
    began = time.monotonic()
    subprocess.run(["cp", "-r", "--reflink=never", folder / "store", folder / "copy"], check=True)
    os.sync()
    seconds = time.monotonic() - began
    shutil.rmtree(folder / "copy")
    os.sync()
    return seconds


def _committed(store: DiskStore, layout: Layout, round_: int, size: int, tip: CommitRecord | None) -> CommitRecord:
    """One more round, as an aggregator leaves it."""
    commit = CommitRecord(
        job_uid=UID,
        round=round_,
        attempt=1,
        epoch=1,
        model=_model(store, layout, round_, size),
        previous_sha256=tip.digest() if tip else None,
        planned_at=float(round_),
        committed_at=float(round_),
    ).sealed()
    key = layout.record(round_, 1, 1, "commit.json")
    store.put_once(key, commit.canonical())
    before = store.head(layout.head)
    head = Head(epoch=1, round=round_, commit_key=key, commit_sha256=commit.digest()).sealed()
    store.replace_head(layout.head, head.canonical(), before.tag if before else None)
    return commit


def _model(store: DiskStore, layout: Layout, round_: int, size: int) -> ObjectRef:
    values = np.random.default_rng(round_).integers(0, 255, size, np.uint8)
    header, table = canonical_header([Tensor("w", "U8", (size,), 0, size)])
    with store.writer(layout.model(round_, "{sha256}"), size=table.size) as writer:
        writer.write(header)
        writer.write(memoryview(values))
        return writer.finish()


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
