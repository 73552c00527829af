"""The same for many objects: one after the other on a disk, several requests at once to a store that is far away.

Called wherever something is done to each of many keys: recovery, history, the deletion of what nobody needs. What fails is
raised in its turn; what was begun by then is waited for.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

from fedstore.presigning import Presigner

_AT_ONCE = 16  # requests; each waits for the network far longer than it computes
_Key = TypeVar("_Key")
_Done = TypeVar("_Done")


class _Deletes(Protocol):
    def delete(self, key: str) -> None:
        """As the port of stores says."""


def is_far(store: object) -> bool:
    """Whether each call is a request over a network."""
    return isinstance(store, Presigner)


def mapped(store: object, function: Callable[[_Key], _Done], keys: Iterable[_Key]) -> Iterator[tuple[_Key, _Done]]:
    """Each key with what the function gives, in the keys' order. At most a few results are held at once."""
    if not is_far(store):
        for key in keys:
            yield key, function(key)
        return
    underway: deque[tuple[_Key, Future[_Done]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="many") as threads:
        try:
            for key in keys:
                if len(underway) == _AT_ONCE:
                    yield _settled(underway)
                underway.append((key, threads.submit(function, key)))
            while underway:
                yield _settled(underway)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def delete(store: _Deletes, keys: Iterable[str]) -> None:
    """Removes objects; the first that cannot be removed is raised when the others were tried too."""
    failed: list[Exception] = []

    def one(key: str) -> None:
        try:
            store.delete(key)
        except Exception as error:  # noqa: BLE001 - raised below
            failed.append(error)

    for _ in mapped(store, one, keys):
        pass
    if failed:
        raise failed[0]


def _settled(underway: "deque[tuple[_Key, Future[_Done]]]") -> tuple[_Key, _Done]:
    key, future = underway.popleft()
    return key, future.result()
