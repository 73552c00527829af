"""What a store in a bucket does beyond the contract: parts, lost answers, damaged objects, readers of one content."""

import hashlib

import pytest

from fedstore.bucketstore import BucketStore
from fedstore.errors import AlreadyExistsError, HeadMovedError, StoreFailedError
from fedstore.objectstore import DIGEST
from tests.contract.fedstore.buckets import MemoryBucket

DATA = bytes(range(256)) * 40
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def bucket():
    return MemoryBucket()


@pytest.fixture
def store(bucket):
    return BucketStore(bucket, "p")


def put(store, key, data=DATA, **announced):
    with store.writer(key, **announced) as writer:
        writer.write(data)
        return writer.finish()


def test_names_are_below_the_prefix_and_neighbours_are_not_seen(store, bucket):
    bucket.put("pp/x", b"foreign", None, {})
    store.put_once("models/a", b"1")
    assert "p/models/a" in bucket.objects
    assert list(store.keys("")) == ["models/a"]


def test_a_large_object_is_sent_in_parts_and_a_small_one_whole(store, bucket):
    put(store, "a/large", size=len(DATA), sha256=SHA)
    put(store, "a/small", b"x" * 1000)
    assert bucket.calls == [("upload", "p/a/large"), ("put", "p/a/large"), ("put", "p/a/small")]
    assert bucket.objects["p/a/large"][2] == {"sha256": SHA}


def test_parts_grow_with_the_object_so_that_there_are_not_too_many(store, bucket):
    bucket.most_parts = 100
    data = b"x" * 250_000
    with store.writer("a/b", size=len(data)) as writer:
        for start in range(0, len(data), 999):
            writer.write(data[start : start + 999])
        upload = next(iter(bucket.uploads))
        writer.finish()
    assert {len(part) for part in upload.parts.values()} == {2500}
    assert store.get("a/b") == data


def test_what_is_there_already_is_not_sent_again(store, bucket):
    put(store, f"a/1-{DIGEST}", size=len(DATA))
    bucket.calls.clear()
    put(store, f"a/1-{DIGEST}", size=len(DATA))
    assert not [call for call in bucket.calls if call[0] in {"put", "upload"}]


def test_an_upload_that_is_not_finished_is_aborted(store, bucket):
    with store.writer("a/b") as writer:
        writer.write(DATA)
        assert bucket.uploads
    assert not bucket.uploads
    assert not bucket.objects


def test_a_part_that_fails_fails_the_object(store, bucket, monkeypatch):
    monkeypatch.setattr("tests.contract.fedstore.buckets.MemoryUpload.part", _refuses)
    with pytest.raises(StoreFailedError, match="no room for part"):
        put(store, "a/b")
    assert not bucket.uploads


def _refuses(_upload, number, _data):
    raise StoreFailedError(f"no room for part {number}")


@pytest.mark.parametrize("data", [b"small", DATA])
def test_a_lost_answer_is_not_a_lost_race(store, bucket, data):
    bucket.lose_answers = 1
    assert put(store, "a/b", data).size == len(data)
    bucket.lose_answers = 1
    first = store.replace_head("HEAD", b"1", None)
    assert store.head("HEAD") == first
    bucket.lose_answers = 1
    assert store.replace_head("HEAD", b"2", first.tag).data == b"2"


def test_the_same_content_of_somebody_else_is_a_lost_race(store):
    other = BucketStore(store.bucket, "p")
    before = store.replace_head("HEAD", b"epoch 1", None)
    other.replace_head("HEAD", b"epoch 2", before.tag)
    with pytest.raises(HeadMovedError):
        store.replace_head("HEAD", b"epoch 2", before.tag)


def test_other_content_of_a_large_object_is_told_at_its_end(store, bucket):
    put(store, "a/b")
    with pytest.raises(AlreadyExistsError):
        put(store, "a/b", DATA[::-1])
    assert not bucket.uploads


def test_a_damaged_large_object_makes_room(store, bucket):
    key = f"p/a/1-{SHA}"
    bucket.put(key, DATA[:-1] + b"?", None, {"sha256": SHA})  # a flipped bit: metadata says what it should be
    put(store, f"a/1-{DIGEST}")
    assert bucket.objects[key][0] == DATA


def test_a_reader_sees_one_content(store, bucket):
    head = store.replace_head("HEAD", DATA * 10, None)
    with store.reader("HEAD") as reader:
        store.replace_head("HEAD", b"x" * len(DATA) * 10, head.tag)
        with pytest.raises(StoreFailedError, match="changed"):
            reader.read_into(memoryview(bytearray(10)), len(DATA))


def test_first_bytes_are_asked_for_once_and_large_reads_in_parts(store, bucket):
    bucket.part_bytes = 1 << 20
    store.put_once("a/b", DATA * 30)
    bucket.part_bytes = 50_000
    bucket.calls.clear()
    whole = bytearray(len(DATA) * 30)
    with store.reader("a/b") as reader:
        for offset in range(0, 1000, 10):
            reader.read_into(memoryview(whole)[offset : offset + 10], offset)
        assert whole[:1000] == (DATA * 30)[:1000]
        assert sum(size for _, size in bucket.calls) == 64 << 10
        bucket.calls.clear()
        reader.read_into(memoryview(whole), 0)
    assert whole == DATA * 30
    assert max(size for _, size in bucket.calls) == 50_000


def test_what_arrived_by_url_is_read(store, bucket):
    ref = put(store, "a/b")
    assert store.arrived(ref) == ""
    assert store.arrived(ref.model_copy(update={"key": "a/c"})) == "it is not there"
    assert "bytes, not 5" in store.arrived(ref.model_copy(update={"size": 5}))
    bucket.delete("p/a/b")
    bucket.put("p/a/b", DATA[::-1], None, {"sha256": SHA})
    assert f"not {SHA}" in store.arrived(ref), "whatever the metadata say"


def test_a_writer_whose_upload_was_ended_by_another_process_is_to_try_again(store, bucket):
    with store.writer("a/b") as writer:
        writer.write(DATA * 30)
        bucket.abandon("")
        writer.write(DATA * 30)
        with pytest.raises(StoreFailedError, match="try again"):
            writer.finish()
    assert put(store, "a/b").size == len(DATA)


def test_a_writer_whose_upload_was_ended_because_the_object_is_there_has_written_it(store, bucket):
    with store.writer("a/b") as writer:
        writer.write(DATA * 30)
        bucket.put("p/a/b", DATA * 60, None, {})
        bucket.abandon("")
        writer.write(DATA * 30)
        assert writer.finish().size == len(DATA * 60)


def test_clean_forgets_uploads_of_killed_writers(store, bucket):
    bucket.upload("p/a/b", None, {})
    store.clean()
    assert not bucket.uploads


def test_clean_leaves_the_uploads_of_other_jobs_of_the_bucket(store, bucket):
    bucket.upload("p/models/n/mine-1/m", None, {})
    other = bucket.upload("p/models/n/other-2/m", None, {})
    store.clean(("models/n/mine-1/", "hubstate/n/mine-1/"))
    assert bucket.uploads == {other}
