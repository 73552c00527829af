"""The contract of an object store: one suite, every adapter."""

import contextlib
import hashlib
import threading

import pytest

from fedstore.errors import (
    AlreadyExistsError,
    ContentMismatchError,
    HeadMovedError,
    InvalidKeyError,
    MissingError,
    StoreFailedError,
)
from fedstore.objectstore import DIGEST
from tests.contract.fedstore import stores

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(params=stores.KINDS)
def store(request, tmp_path):
    return stores.opened(request, tmp_path)


def put(store, key, data=DATA, size=None, sha256=None):
    with store.writer(key, size=size, sha256=sha256) as writer:
        for start in range(0, len(data), 1000):
            writer.write(memoryview(data)[start : start + 1000])
        return writer.finish()


def test_what_is_put_can_be_read_whole_and_in_parts(store):
    ref = put(store, "models/ns/job/a.bin", size=len(DATA), sha256=SHA)
    assert (ref.key, ref.sha256, ref.size) == ("models/ns/job/a.bin", SHA, len(DATA))
    assert store.get(ref.key) == DATA
    assert store.size(ref.key) == len(DATA)
    part = bytearray(500)
    with store.reader(ref.key) as reader:
        assert reader.size == len(DATA)
        reader.read_into(memoryview(part), 300)
        assert part == DATA[300:800]
        with pytest.raises(StoreFailedError):
            reader.read_into(memoryview(part), len(DATA) - 10)
    assert store.get(store.put_once("empty", b"").key) == b""


def test_a_digest_in_the_key_is_filled_in(store):
    assert put(store, f"models/x/000001-{DIGEST}.bin").key == f"models/x/000001-{SHA}.bin"


def test_objects_are_written_once(store):
    put(store, "a/b")
    put(store, "a/b")
    with pytest.raises(AlreadyExistsError):
        put(store, "a/b", b"other")
    assert store.get("a/b") == DATA


def test_a_damaged_object_makes_room_for_what_its_key_says(store):
    rotten = b"x" * len(DATA)
    put(store, f"a/1-{SHA}.bin", rotten)
    with pytest.raises(ContentMismatchError):
        put(store, f"a/1-{SHA}.bin", rotten, sha256=SHA)
    assert put(store, f"a/1-{DIGEST}.bin").key == f"a/1-{SHA}.bin"
    assert store.get(f"a/1-{SHA}.bin") == DATA


@pytest.mark.parametrize(
    ("announced", "code"),
    [({"size": 5}, "WrongSize"), ({"size": 10**6}, "WrongSize"), ({"sha256": "0" * 64}, "WrongDigest")],
)
def test_announced_size_and_digest_are_checked(store, announced, code):
    with pytest.raises(ContentMismatchError) as error:
        put(store, "a/b", **announced)
    assert error.value.code == code
    assert store.size("a/b") is None
    assert list(store.keys("")) == []


def test_an_unfinished_object_is_not_there(store):
    with store.writer("a/b") as writer:
        writer.write(DATA)
    assert store.size("a/b") is None
    with pytest.raises(MissingError):
        store.get("a/b")
    with pytest.raises(MissingError), store.reader("a/b"):
        pass


def test_keys_by_prefix_are_sorted(store):
    for key in ("u/b/2", "u/b/1", "u/a", "u/bb", "v"):
        store.put_once(key, b"x")
    assert list(store.keys("u/b")) == ["u/b/1", "u/b/2", "u/bb"]
    assert list(store.keys("u/b/")) == ["u/b/1", "u/b/2"]
    assert list(store.keys("w/")) == []
    store.delete("u/b/1")
    store.delete("u/b/1")
    assert list(store.keys("u/b/")) == ["u/b/2"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/.",
        "a/./b",
        ".tmp/x",
        "a\\..\\b",
        "a\0b",
        "a/b\n",
        "é",
        "a" * 2000,
    ],
)
def test_keys_never_leave_the_root(store, key):
    for use in (store.get, store.size, store.delete, lambda k: store.put_once(k, b"x"), lambda k: put(store, k)):
        with pytest.raises(InvalidKeyError):
            use(key)


def test_head_moves_by_compare_and_swap_only(store):
    assert store.head("c/HEAD.json") is None
    with pytest.raises(HeadMovedError):
        store.replace_head("c/HEAD.json", b"1", "0" * 64)
    first = store.replace_head("c/HEAD.json", b"1", None)
    with pytest.raises(HeadMovedError):
        store.replace_head("c/HEAD.json", b"2", None)
    second = store.replace_head("c/HEAD.json", b"2", first.tag)
    assert store.head("c/HEAD.json") == second
    with pytest.raises(HeadMovedError):
        store.replace_head("c/HEAD.json", b"3", first.tag)
    assert store.head("c/HEAD.json").data == b"2"


@pytest.mark.parametrize("store", stores.SEVERAL_WRITERS, indirect=True)
def test_of_many_swaps_one_wins(store):
    store.replace_head("HEAD", b"start", None)
    tag = store.head("HEAD").tag
    won = []

    def swap(number):
        with contextlib.suppress(HeadMovedError):
            won.append(store.replace_head("HEAD", f"{number}".encode(), tag))

    threads = [threading.Thread(target=swap, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert store.head("HEAD") == won[0]


@pytest.mark.parametrize("store", stores.SEVERAL_WRITERS, indirect=True)
def test_of_many_writers_of_one_key_all_see_one_content(store):
    refs, errors = [], []

    def write(number):
        try:
            refs.append(put(store, "a/b", f"{number % 2}".encode() * 1000))
        except AlreadyExistsError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ref.sha256 for ref in refs}) == 1
    assert len(refs) + len(errors) == 8


def test_objects_that_are_put_together(store):
    objects = {"a/one": b"1", "a/two": b"2", "b/c/three": DATA}
    store.put_together(objects)
    store.put_together(objects)
    assert {key: store.get(key) for key in store.keys("")} == objects
    with pytest.raises(AlreadyExistsError):
        store.put_together({"a/zero": b"0", "a/two": b"other", "a/three": b"3"})
    assert list(store.keys("a/")) == ["a/one", "a/two", "a/zero"], "in their order, up to the one that cannot be"
    assert store.get("a/two") == b"2"


def test_large_objects_come_and_go_in_parts(store):
    data = bytes(range(251)) * 80_000  # 20 MB: several parts of every store
    digest = hashlib.sha256(data).hexdigest()

    def send(key, content=data, **announced):
        with store.writer(key, **announced) as writer:
            for start in range(0, len(content), 3_000_000):
                writer.write(memoryview(content)[start : start + 3_000_000])
            return writer.finish()

    key = f"models/1-{digest}"
    assert send(f"models/1-{DIGEST}", size=len(data)).key == key
    assert send(key, size=len(data), sha256=digest).key == key
    send("models/plain")
    with pytest.raises(AlreadyExistsError):
        send("models/plain", data[::-1])
    with pytest.raises(ContentMismatchError):
        send("models/wrong", sha256="0" * 64)
    with store.writer("models/unfinished") as writer:
        writer.write(data)
    assert list(store.keys("models/")) == [key, "models/plain"]
    whole = bytearray(len(data))
    with store.reader(key) as reader:
        reader.read_into(memoryview(whole)[:100], 0)
        reader.read_into(memoryview(whole)[100:15_000_000], 100)
        reader.read_into(memoryview(whole)[15_000_000:], 15_000_000)
    assert whole == data


def test_a_damaged_large_object_is_written_again(store):
    data = bytes(range(256)) * 40_000
    digest = hashlib.sha256(data).hexdigest()
    put(store, f"models/1-{digest}", data[:-1] + b"?")
    with store.writer(f"models/1-{digest}", size=len(data), sha256=digest) as writer:
        writer.write(data)
        writer.finish()
    assert store.get(f"models/1-{digest}") == data


@pytest.mark.parametrize("store", stores.SEVERAL_WRITERS, indirect=True)
def test_of_many_large_writers_of_one_key_all_see_one_content(store):
    refs, errors = [], []

    def write(number):
        data = bytes([number % 2]) * 10_000_000
        try:
            with store.writer("a/b") as writer:
                writer.write(data)
                refs.append(writer.finish())
        except AlreadyExistsError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ref.sha256 for ref in refs}) == 1
    assert len(refs) + len(errors) == 4
    assert hashlib.sha256(store.get("a/b")).hexdigest() == refs[0].sha256
