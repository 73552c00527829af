"""What Fedloom needs of a store, tried on the store itself: for users with a bucket of their own. Called by `fedloom storage test`.

Everything happens below a prefix that nobody else uses, and is deleted in the end. Each promise is one function; it returns a remark
for the table, or raises. What a store binds into its URLs differs; what it does not bind must be found out when the object arrives.
"""

import contextlib
import hashlib
import secrets
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from fedapi.wire.message import ObjectRef
from fedstore.errors import AlreadyExistsError, ContentMismatchError, HeadMovedError, StoreError
from fedstore.objectstore import DIGEST, ObjectStore
from fedstore.presigning import Presigned, PresigningStore

_AT_ONCE = 8
_LARGE_BYTES = 20 << 20  # several parts of every store
_CHUNK_BYTES = 1 << 20
_EXPIRED_WITHIN_S = 30.0
_TIMEOUT_S = 60.0


class BrokenError(Exception):
    """The store does not keep a promise; the text says what it did instead."""


@dataclass(frozen=True)
class Outcome:
    """Of one promise."""

    promise: str
    kept: bool | None  # None: there was nothing to try
    remark: str
    seconds: float


def tried(store: ObjectStore, *, alone: bool = False) -> Iterator[Outcome]:
    """Every promise, one after the other; what was written is deleted at the end, also when the caller stops.

    `alone`: the store will have one writer at a time, so several at once are not tried.
    """
    try:
        for promise, attempt in _PROMISES.items():
            if alone and attempt in _RACES:
                yield Outcome(promise, None, "a Lease keeps other writers off", 0.0)
            else:
                yield _tried(promise, attempt, store)
    finally:
        left = _cleaned(store)
    yield Outcome("leaves nothing behind", not left, left, 0.0)


def _tried(promise: str, attempt: Callable[[ObjectStore], str | None], store: ObjectStore) -> Outcome:
    begun = time.monotonic()
    kept: bool | None = True
    try:
        found = attempt(store)
        kept, remark = (None, "this kind of store makes no URLs") if found is None else (True, found)
    except (BrokenError, StoreError) as error:
        kept, remark = False, str(error)
    return Outcome(promise, kept, remark, time.monotonic() - begun)


def _cleaned(store: ObjectStore) -> str:
    """Deletes all there is; what went wrong."""
    try:
        store.clean()
        for key in list(store.keys("")):
            store.delete(key)
        left = list(store.keys(""))
    except StoreError as error:
        return str(error)
    return f"{len(left)} objects are still listed" if left else ""


def _reading(store: ObjectStore) -> str:
    data = secrets.token_bytes(100_000)
    ref = store.put_once("read/object", data)
    _require(store.get(ref.key) == data, "other bytes were read than were written")
    _require(store.size(ref.key) == len(data), "the size is not that of what was written")
    part = bytearray(1000)
    with store.reader(ref.key) as reader:
        reader.read_into(memoryview(part), 70_000)
    _require(part == data[70_000:71_000], "a range was asked for and other bytes came")
    return ""


def _once(store: ObjectStore) -> str:
    store.put_once("once/object", b"first")
    store.put_once("once/object", b"first")
    with _refusal(AlreadyExistsError, "an object was written over"):
        store.put_once("once/object", b"other")
    return ""


def _race_once(store: ObjectStore) -> str:
    def write(number: int) -> None:
        with contextlib.suppress(AlreadyExistsError):
            won.append(store.put_once("once/race", f"{number}".encode()))

    won: list[ObjectRef] = []
    _at_once(write)
    _require(len(won) == 1, f"{len(won)} of {_AT_ONCE} writers of one object were told that they wrote it")
    return f"of {_AT_ONCE} writers at once one won"


def _announced(store: ObjectStore) -> str:
    with _refusal(ContentMismatchError, "an object was made of other content than was announced"):
        _send(store, "announced/object", b"content", "0" * 64)
    with store.writer("announced/unfinished") as writer:
        writer.write(b"content")
    _require(not list(store.keys("announced/")), "what was refused, or not finished, is listed")
    return ""


def _swap(store: ObjectStore) -> str:
    first = store.replace_head("swap/HEAD.json", b"first", None)
    with _refusal(HeadMovedError, "HEAD was made twice"):
        store.replace_head("swap/HEAD.json", b"again", None)
    second = store.replace_head("swap/HEAD.json", b"second", first.tag)
    with _refusal(HeadMovedError, "HEAD was replaced by one who did not know what it was"):
        store.replace_head("swap/HEAD.json", b"third", first.tag)
    _require(store.head("swap/HEAD.json") == second, "HEAD is not what was written")
    return ""


def _race_swap(store: ObjectStore) -> str:
    first = store.replace_head("race/HEAD.json", b"first", None)

    def swap(number: int) -> None:
        with contextlib.suppress(HeadMovedError):
            won.append(store.replace_head("race/HEAD.json", f"{number}".encode(), first.tag).data)

    won: list[bytes] = []
    _at_once(swap)
    _require(len(won) == 1, f"{len(won)} of {_AT_ONCE} swaps of one HEAD succeeded")
    head = store.head("race/HEAD.json")
    _require(head is not None and head.data == won[0], "HEAD is not what the winner wrote")
    return f"of {_AT_ONCE} swaps at once one won"


def _large(store: ObjectStore) -> str:
    data = secrets.token_bytes(_LARGE_BYTES)
    digest = hashlib.sha256(data).hexdigest()
    _require(_send(store, f"large/object-{DIGEST}", data).key == f"large/object-{digest}", "it is under another key")
    _send(store, "large/plain", data, digest)
    with _refusal(AlreadyExistsError, "an object of several parts was written over"):
        _send(store, "large/plain", data[::-1])
    whole = bytearray(len(data))
    with store.reader("large/plain") as reader:
        reader.read_into(memoryview(whole), 0)
    _require(whole == data, "other bytes were read than were written")
    return f"{_LARGE_BYTES >> 20} MiB"


def _listing(store: ObjectStore) -> str:
    keys = [f"list/{number:02d}" for number in range(12)]
    for key in reversed(keys):
        store.put_once(key, key.encode())
        _require(key in list(store.keys("list/")), "what was just written is not listed")
    _require(list(store.keys("list/")) == keys, "keys are not listed in their order")
    _require(list(store.keys("list/0")) == keys[:10], "a prefix lists other keys")
    return ""


def _deletion(store: ObjectStore) -> str:
    store.put_once("delete/object", b"content")
    for _ in range(2):
        store.delete("delete/object")
    _require(store.size("delete/object") is None, "it is still there")
    _require(not list(store.keys("delete/")), "it is still listed")
    store.put_once("delete/object", b"other")
    return ""


def _put_url(store: ObjectStore) -> str | None:
    if not isinstance(store, PresigningStore):
        return None
    data = secrets.token_bytes(100_000)
    ref = _ref("url/object", data)
    url = _url_to_put(store, ref)
    _require(_requested(store, url, data) < 300, "a URL was refused that had just been made")
    _require(not (wrong := store.arrived(ref)), f"what was put by URL is not what was sent: {wrong}")
    _requested(store, url, data[::-1])
    _require(store.get(ref.key) == data, "a URL wrote over an object")
    bound = [
        what
        for what, sent, announced in (
            ("size", data + b"more", _ref("url/size", data)),
            ("digest", data[::-1], _ref("url/digest", data)),
        )
        if _is_bound(store, announced, sent)
    ]
    if _requested(store, url, data) >= 300:
        bound.insert(0, "absence")
    return f"bound by the store: {', '.join(bound)}" + ("" if len(bound) == 3 else "; the rest on arrival")


def _is_bound(store: PresigningStore, announced: ObjectRef, sent: bytes) -> bool:
    refused = _requested(store, _url_to_put(store, announced), sent) >= 300
    _require(bool(store.arrived(announced)), "other content than was announced was taken for it")
    return refused


def _get_url(store: ObjectStore) -> str | None:
    if not isinstance(store, PresigningStore):
        return None
    ref = store.put_once("url/read", b"content")
    other = store.put_once("url/other", b"other")
    url = store.presigned_get(ref, time.time(), 600)
    _require(_requested(store, url) == 200, "a URL was refused that had just been made")
    altered = Presigned("GET", url.url.replace(ref.key, other.key), url.expires_at, url.headers)
    _require(_requested(store, altered) >= 400, "a URL for one object reads another")
    nobody = Presigned("GET", url.url.partition("?")[0], url.expires_at)
    _require(_requested(store, nobody) >= 400, "anybody can read the object without a URL of ours: it is public")
    writing = Presigned("PUT", url.url, url.expires_at, url.headers)
    _requested(store, writing, b"changed")
    _require(store.get(ref.key) == b"content", "a URL to read writes")
    return ""


def _expiry(store: ObjectStore) -> str | None:
    if not isinstance(store, PresigningStore):
        return None
    ref = store.put_once("url/expiring", b"content")
    url = store.presigned_get(ref, time.time(), 1)
    until = time.monotonic() + _EXPIRED_WITHIN_S
    while _requested(store, url) < 400:
        late = f"a URL of one second was taken after {_EXPIRED_WITHIN_S:.0f}: compare this machine's clock"
        _require(time.monotonic() < until, late)
        time.sleep(0.5)
    return ""


_PROMISES: dict[str, Callable[[ObjectStore], str | None]] = {
    "what was written is read": _reading,
    "objects are written once": _once,
    "of many writers of an object one wins": _race_once,
    "announced size and digest hold": _announced,
    "HEAD moves by compare-and-swap": _swap,
    "of many swaps of HEAD one wins": _race_swap,
    "large objects in parts": _large,
    "listings are up to date": _listing,
    "deleted is gone": _deletion,
    "a URL to write grants one object once": _put_url,
    "a URL to read grants one object": _get_url,
    "URLs expire": _expiry,
}
_RACES = (_race_once, _race_swap)


def _require(kept: bool, instead: str) -> None:
    if not kept:
        raise BrokenError(instead)


@contextlib.contextmanager
def _refusal(kind: type[StoreError], instead: str) -> Iterator[None]:
    """Inside, the store must refuse."""
    try:
        yield
    except kind:
        return
    raise BrokenError(instead)


def _at_once(work: Callable[[int], None]) -> None:
    """In as many threads; the first error of one is raised."""
    errors: list[StoreError] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            work(number)
        except StoreError as error:
            errors.append(error)

    barrier = threading.Barrier(_AT_ONCE)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _send(store: ObjectStore, key: str, data: bytes, sha256: str | None = None) -> ObjectRef:
    with store.writer(key, size=len(data), sha256=sha256) as writer:
        for start in range(0, len(data), _CHUNK_BYTES):
            writer.write(memoryview(data)[start : start + _CHUNK_BYTES])
        return writer.finish()


def _ref(key: str, data: bytes) -> ObjectRef:
    return ObjectRef(key=key, sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def _url_to_put(store: PresigningStore, ref: ObjectRef) -> Presigned:
    return store.presigned_put(ref, time.time(), 600)


def _requested(store: PresigningStore, url: Presigned, data: bytes | None = None) -> int:
    """What the store answers to who has nothing but the URL: the status."""
    if urlsplit(url.url).scheme not in {"http", "https"}:
        raise BrokenError(f"the store makes URLs that are none of HTTP: {urlsplit(url.url).scheme}")
    headers = {name: value for name, value in url.headers.items() if name.lower() != "content-length"}
    request = urllib.request.Request(url.url, data, headers, method=url.method)  # noqa: S310 - checked above
    context = ssl.create_default_context(cadata=store.ca() or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoRedirect())
    try:
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, HTTPException) as error:
        if data is not None and isinstance(getattr(error, "reason", error), ConnectionError | ssl.SSLError):
            return 400  # some hang up on a body that they do not want
        raise BrokenError(f"the store does not answer: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A URL is for one object of one store."""

    def redirect_request(self, *_: object) -> None:
        """Never."""
