"""A model is made of the one before and of what has changed, or else fetched as a whole: the digest says which."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import save

from fedapi.wire.download import Download
from fedcore.tensors import tensorfile
from fedtrainer.agent import changed_model
from fedtrainer.agent.changed_model import GAP_BYTES, Earlier, fetched

LAYERS = 6
METADATA = {tensorfile.METADATA: '{"frozen": ["9.weight"]}'}


def tensors(seed):
    rng = np.random.default_rng(seed)
    return {f"{layer}.weight": rng.normal(size=40_000).astype(np.float32) for layer in range(LAYERS)}


def file_of(values):
    """In the hub's form."""
    kinds = tensorfile.parsed((saved := save(values))[8 : 8 + int.from_bytes(saved[:8], "little")], len(saved))
    header, table = tensorfile.canonical_header(kinds.tensors)
    return header + b"".join(values[tensor.name].tobytes() for tensor in table.tensors)


class Server:
    """Has the next model, in which one of two fragments has changed, and counts what is fetched of it."""

    def __init__(self, folder, due=0, initial=False):
        before, new = tensors(1), tensors(2)
        self.after = before | {name: new[name] for name in new if int(name[0]) % 2 == due}
        self.content, self.bytes, self.garbled = file_of(self.after), 0, False
        frozen = {"9.weight": np.ones(9, np.float32)}
        (folder / "before").write_bytes(save(before | frozen, METADATA) if initial else file_of(before))
        self.earlier = Earlier(folder / "before", 2, 2)
        self.path = folder / "model-next.safetensors"

    def fill(self, path, ranges):
        with path.open("r+b") as file:
            for begin, end in ranges:
                file.seek(begin)
                file.write(bytes(end - begin) if self.garbled else self.content[begin:end])
                self.bytes += end - begin
        return True

    def fetched(self, round_=3, fill=None, **changes):
        sha256 = hashlib.sha256(self.content).hexdigest()
        what = Download(url="https://hub/x", sha256=sha256, size=len(self.content), expires_at=1.0)
        earlier = self.earlier
        return fetched(what.model_copy(update=changes), self.path, earlier, round_, fill or self.fill)


@pytest.mark.parametrize("initial", [False, True], ids=["of a round", "the initial one, with a frozen tensor"])
def test_one_fragment_is_fetched_and_the_other_copied(tmp_path, initial):
    server = Server(tmp_path, initial=initial)
    assert server.fetched()
    assert server.path.read_bytes() == server.content
    assert server.bytes == 3 * 160_000
    assert not server.path.with_suffix(".partial").exists()


def test_what_is_near_each_other_is_one_request():
    kinds = [
        tensorfile.Tensor(f"{n}.w", "F32", (size // 4,), 0, size)
        for n, size in enumerate([400, 800, 4 * GAP_BYTES, 400])
    ]
    table = tensorfile.canonical_header(kinds)[1]
    ends = {tensor.name: (tensor.begin, tensor.end) for tensor in table.tensors}
    near, far = frozenset({"0.w", "1.w"}), frozenset({"0.w", "3.w"})
    assert changed_model.ranges(table, near) == [(ends["0.w"][0], ends["1.w"][1])]
    assert changed_model.ranges(table, far) == [ends["0.w"], ends["3.w"]]


@pytest.mark.parametrize("round_", [4, 9], ids=["both", "more"])
def test_where_all_fragments_have_changed_all_is_fetched(tmp_path, round_):
    server = Server(tmp_path)
    assert not server.fetched(round_)
    assert server.bytes == 0


def test_another_model_than_was_thought_is_fetched_as_a_whole(tmp_path):
    """A job that went back, or a server that gives something else: nothing is left that could be taken for a model."""
    other, garbled = Server(tmp_path, due=1), Server(tmp_path)
    garbled.garbled = True
    for server in (other, garbled):
        assert not server.fetched()
    assert not Server(tmp_path).fetched(size=7)
    assert not Server(tmp_path).fetched(fill=lambda _path, _ranges: False), "whole objects alone"
    assert [path.name for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 200])
def test_an_earlier_file_that_is_gone_or_damaged_is_no_error(tmp_path, content):
    server = Server(tmp_path)
    server.earlier.path.unlink() if content is None else server.earlier.path.write_bytes(content)
    assert not server.fetched()


def test_the_same_model_again_is_there(tmp_path):
    server = Server(tmp_path)
    assert server.fetched()
    server.earlier, server.bytes = Earlier(server.path, 3, 2), 0
    assert server.fetched()
    assert server.bytes == 0
    server.path.write_bytes(b"\0" + server.content[1:])
    assert not server.fetched()


def test_an_encoded_model_is_fetched_as_a_whole(tmp_path):
    """What lies where in it is the codec's: a guess would be paid for, and wrong."""
    server = Server(tmp_path)
    server.earlier.path.write_bytes(save(tensors(1), {tensorfile.METADATA: '{"codec": "Float16"}'}))
    assert not server.fetched()
    assert server.bytes == 0
