"""A fold of files on a disk that compiled code reads by itself: the same bits, every byte verified, and a file that goes bad is told."""

import functools
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import DamagedError
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.update import Payload
from fedcore.strategies.table import STRATEGIES
from fedcore.tensors import kernels
from fedstore.disk import DiskReader, DiskStore
from fedstore.errors import StoreFailedError
from tests.unit.fedaggregator.engine.test_encrypted_fold import JOB_KEY
from tests.unit.fedaggregator.engine.test_known_fold import Job
from tests.unit.fedaggregator.engine.test_verified_fold import asked, in_order, term
from tests.unit.fedcore.compression.coding import file_of, named

NAMES = ["big", "bias", "more", "none", "steps"]


def tensors(seed: int) -> dict[str, np.ndarray]:
    """Of several blocks, small ones that share one, and of another type."""
    rng = np.random.default_rng(seed)
    return {
        "big": rng.normal(size=700_001).astype(np.float32),
        "bias": rng.normal(size=7).astype(np.float32),
        "more": rng.normal(size=300_001).astype(np.float32),
        "none": np.zeros((0, 3), np.float32),
        "steps": rng.integers(0, 99, 5),
    }


class OnDisk(Job):
    """The same on a disk."""

    def __init__(self, root) -> None:
        self.root, self.store = root, DiskStore(root)
        self.payloads = Payloads(self.store, JOB_KEY)


def updates(job, files):
    """A round with these as updates; client and samples by their place."""
    base = job.put("models/base", save(tensors(0)))
    refs = [job.put(f"updates/{index}", data) for index, data in enumerate(files)]
    return asked(base, *(term(f"site-{index}", ref, index + 1) for index, ref in enumerate(refs)))


@pytest.fixture
def job(tmp_path):
    return OnDisk(tmp_path)


@pytest.fixture
def added(monkeypatch):
    """How many updates compiled code was asked to add, call by call."""
    calls, add = [], kernels._FUNCTIONS["sum_read_f32"]

    def counted(*arguments):
        calls.append(add(*arguments))
        return calls[-1]

    monkeypatch.setitem(kernels._FUNCTIONS, "sum_read_f32", counted)
    return calls


def plain(seed):
    return save(tensors(seed))


def askew(seed):
    """The same tensors in the same order behind a header that ends anywhere, so that floats are no words of the file."""
    order = sorted(NAMES, key=lambda name: (name != "steps", name))
    data = in_order(tensors(seed), order)
    assert (8 + int.from_bytes(data[:8], "little")) % 4
    return data


@pytest.mark.parametrize("name", ["FedAvg", "FedAdam"])
@pytest.mark.parametrize("made", [[plain], [plain, plain, plain], [plain, askew, askew]])
def test_files_are_summed_where_they_are_read_with_the_same_bits(job, added, made, name):
    strategy = StrategySettings(name=name, parameters=dict.fromkeys(STRATEGIES[name].parameters, 0.5))
    files = [each(index + 1) for index, each in enumerate(made)]
    memory = Job()

    def folded(where):
        return where.fold(replace(updates(where, files), strategy=strategy))

    model = folded(job)
    assert added
    assert set(added) == {len(files)}
    assert folded(memory) == model


def test_what_compiled_code_reads_is_read_once(job, added, monkeypatch):
    order = updates(job, [plain(1), plain(2)])
    read, asked_for = DiskReader.read_into, []

    def noted(self, buffer, offset):
        asked_for.append((self._key, buffer.nbytes))
        read(self, buffer, offset)

    monkeypatch.setattr(DiskReader, "read_into", noted)
    job.fold(order)
    assert added
    for key in ("updates/0", "updates/1"):
        others = sum(count for name, count in asked_for if name == key)
        assert others < 1000, "its header and the integers"


def other_way(seed):
    """A file that has a span in several parts."""
    return in_order(tensors(seed), NAMES[::-1])


def encoded(seed):
    return file_of(tensors(seed), named("Int8"), seed=seed)


@pytest.mark.parametrize("odd", [other_way, encoded])
def test_one_file_that_is_not_like_that_is_read_as_ever_beside_others(job, added, odd):
    memory = Job()

    def folded(where):
        base = where.put("models/base", save(tensors(0)))
        refs = [where.put(f"updates/{index}", data) for index, data in enumerate([plain(1), odd(2), plain(3)])]
        terms = [term(f"site-{index}", ref) for index, ref in enumerate(refs)]
        if odd is encoded:
            terms[1] = replace(terms[1], payloads={"update": Payload(object=refs[1], codec="Int8")})
        return where.fold(asked(base, *terms))

    assert folded(job) == folded(memory)


@pytest.mark.parametrize("keys", [("updates/0",), ("updates/1",), ("updates/0", "updates/1")])
@pytest.mark.parametrize("position", [9, 1000, 1_500_000, 2_800_100, -1])
def test_any_changed_byte_is_found(job, added, keys, position):
    order = updates(job, [plain(1), plain(2)])
    for key in keys:
        data = bytearray((job.root / key).read_bytes())
        data[position] ^= 0x40
        (job.root / key).write_bytes(data)
    with pytest.raises(DamagedError) as error:
        job.fold(order)
    assert set(error.value.found) == set(keys)


@pytest.fixture
def before_the_first(added, monkeypatch):
    """Has something happen when all files are open and none is read: whatever the threads do."""

    def arrange(act):
        add, once = kernels._FUNCTIONS["add_read_f32"], functools.cache(act)
        turn = threading.Lock()

        def later(*arguments):
            with turn:
                once()
            return add(*arguments)

        monkeypatch.setitem(kernels._FUNCTIONS, "add_read_f32", later)

    return arrange


def before_it_reads(monkeypatch, act):
    """Something that happens once the files are open, before any update is read by compiled code."""
    add, lock, acts = kernels._FUNCTIONS["sum_read_f32"], threading.Lock(), [act]

    def late(*arguments):
        with lock:
            while acts:
                acts.pop()()
        return add(*arguments)

    monkeypatch.setitem(kernels._FUNCTIONS, "sum_read_f32", late)


def test_a_file_that_is_cut_short_while_it_is_folded_is_told(job, added, monkeypatch):
    order = updates(job, [plain(1), plain(2)])
    before_it_reads(monkeypatch, lambda: os.truncate(job.root / "updates/1", 2_000_000))
    with pytest.raises(StoreFailedError, match=r"updates/1: the object ends at 2000000"):
        job.fold(order)
    assert 1 in added, "the first update was read, the second could not be"


def test_a_file_that_is_written_over_while_it_is_folded_is_damaged(job, added, monkeypatch):
    order = updates(job, [plain(1), plain(2)])

    def written_over():
        with (job.root / "updates/1").open("r+b") as file:
            file.seek(2_900_000)
            file.write(b"\1" * 900_000)

    before_it_reads(monkeypatch, written_over)
    with pytest.raises(DamagedError) as error:
        job.fold(order)
    assert set(error.value.found) == {"updates/1"}
    assert set(added) == {2}


def test_what_cannot_be_read_by_compiled_code_is_read_as_ever(job, monkeypatch):
    """As after a signal, or where a system reads no more than a part at a time."""
    order = updates(job, [plain(1), plain(2), plain(3)])
    expected = job.fold(order)
    add = kernels._FUNCTIONS["sum_read_f32"]

    def fewer(read, terms, count, *rest):
        return add(read, terms, min(count, 1), *rest)

    monkeypatch.setitem(kernels._FUNCTIONS, "sum_read_f32", fewer)
    assert job.fold(order) == expected
