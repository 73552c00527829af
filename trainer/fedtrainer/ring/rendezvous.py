"""Where the ranks of one generation meet: a TCPStore that rank 0 keeps, and rank 0's signed messages in it.

Rank 0 tells the others what to do (`tell`, `hear`); adapters find each other through `store`, `put` and `get`. What
is put here is signed with a key that only the site's pods have; the store itself has no password, so it listens on
rank 0's own address only and a NetworkPolicy should keep others away from it.
"""

import atexit
import hashlib
import hmac
import queue
import socket
import threading
import time
from datetime import timedelta
from typing import Any, Self

import torch.distributed as dist

from fedapi.wire.tokens import hkdf
from fedtrainer.errors import RingBrokenError
from fedtrainer.ring.faults import broken
from fedtrainer.ring.slot import Slot

_LOOK_S = 0.01  # between two questions for an order; TCPStore's own wait writes a warning whenever it ends without
_SILENT_S = 0.2  # between two looks at whether rank 0 still answers
_CONNECT_S = 3.0  # for one try to reach rank 0
_SIGNATURE = hashlib.sha256().digest_size


def ring_key(token: str) -> bytes:
    """The key of a site's rendezvous, from the site's token."""
    return hkdf(token.encode(), b"fedloom ring")


class Rendezvous:
    """One rank's view. `tell` at rank 0, `hear` at the others."""

    def __init__(self, slot: Slot, key: bytes, stores: tuple[Any, Any | None]) -> None:
        self._slot, self._key = slot, key
        self._told = self._forgotten = 0  # numbers of the last order told, and of the last that all have heard
        self._tcp, self._ear = stores
        self.store: Any = dist.PrefixStore(f"generation {slot.generation}", self._tcp)
        self._heard: queue.SimpleQueue[str | RingBrokenError] = queue.SimpleQueue()
        self._answered, self._closing = time.monotonic(), threading.Event()
        self._listener: threading.Thread | None = None
        atexit.register(self.close)

    @classmethod
    def open(cls, slot: Slot, key: bytes, patience_s: float) -> Self:
        """Rank 0 begins to listen; the others look for it for `patience_s`. `key` is ring_key's."""
        try:
            tcp = _keep(slot, patience_s) if slot.rank == 0 else _reach(slot, patience_s)
            ear = _reach(slot, patience_s) if slot.rank else None
        except (RuntimeError, OSError) as error:
            where = f"{slot.addresses[0]} port {slot.store_port}"
            raise broken(slot, f"reaching rank 0 at {where} within {patience_s:g} s", error) from error
        return cls(slot, key, (tcp, ear))

    def tell(self, text: str) -> None:
        """Rank 0: hands one message to every other rank, in order. What all have heard is forgotten."""
        self._told += 1
        self.put(f"order {self._told}", text)
        while self._forgotten + 1 < self._told and self._heard_by_all(self._forgotten + 1):
            self._forgotten += 1
            self.store.delete_key(f"heard {self._forgotten}")
            self.store.delete_key(f"order {self._forgotten}")

    def hear(self) -> str:
        """Others: the next message, however long that takes. RingBrokenError when rank 0 is gone or silent."""
        if self._listener is None:
            self._answered = time.monotonic()
            self._listener = threading.Thread(target=self._listen, name="ring-rendezvous", daemon=True)
            self._listener.start()
        while True:
            try:
                found = self._heard.get(timeout=_SILENT_S)
            except queue.Empty:
                silent_s = time.monotonic() - self._answered
                if silent_s > self._slot.timeout_s:
                    raise broken(self._slot, "hearing rank 0", f"no answer for {silent_s:.0f} s") from None
                continue
            if isinstance(found, RingBrokenError):
                raise found
            return found

    def put(self, name: str, text: str) -> None:
        """Leaves a signed text for all ranks."""
        try:
            self.store.set(name, self._sign(name, text.encode()) + text.encode())
        except RuntimeError as error:
            raise broken(self._slot, f"telling {name!r}", error) from error

    def get(self, name: str) -> str:
        """A signed text, waited for as long as one operation may take."""
        try:
            self.store.wait([name], timedelta(seconds=self._slot.timeout_s))
            return self._checked(name, self.store.get(name))
        except RuntimeError as error:
            raise broken(self._slot, f"waiting for {name!r}", error) from error

    def gather(self, name: str, size: int) -> None:
        """Returns when `size` ranks have called this with this name."""
        try:
            if self.store.add(name, 1) == size:
                self.store.set(f"{name} all", b"1")
            self.store.wait([f"{name} all"], timedelta(seconds=self._slot.timeout_s))
        except RuntimeError as error:
            raise broken(self._slot, f"waiting for all ranks ({name})", error) from error

    def close(self) -> None:
        """Stops listening; at rank 0 the store ends with the last reference to it."""
        atexit.unregister(self.close)
        self._closing.set()
        if self._listener is not None:
            self._listener.join(timeout=1)  # a silent store holds it for ever; it dies with the process
        self.store = self._tcp = self._ear = None

    def _heard_by_all(self, number: int) -> bool:
        return bool(self.store.add(f"heard {number}", 0) >= self._slot.size - 1)

    def _listen(self) -> None:
        store = dist.PrefixStore(f"generation {self._slot.generation}", self._ear)
        number = 1
        try:
            while not self._closing.is_set():
                name = f"order {number}"
                there = store.check([name])
                self._answered = time.monotonic()
                if not there:
                    self._closing.wait(_LOOK_S)
                    continue
                self._heard.put(self._checked(name, store.get(name)))
                store.add(f"heard {number}", 1)
                number += 1
        except RingBrokenError as error:
            self._heard.put(error)
        except RuntimeError as error:
            self._heard.put(broken(self._slot, "hearing rank 0", error))

    def _sign(self, name: str, body: bytes) -> bytes:
        about = f"{self._slot.generation}\0{name}\0".encode()
        return hmac.digest(self._key, about + body, hashlib.sha256)

    def _checked(self, name: str, signed: bytes) -> str:
        signature, body = signed[:_SIGNATURE], signed[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(name, body)):
            raise broken(self._slot, f"reading {name!r}", "wrong signature: it was written without the site's key")
        return body.decode()


def _keep(slot: Slot, patience_s: float) -> Any:
    """The store itself, on the first address only: torch alone would listen on every interface."""
    address = slot.addresses[0]
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, slot.store_port))
    listening.listen(512)
    return dist.TCPStore(
        address,
        listening.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        timeout=timedelta(seconds=patience_s),
        master_listen_fd=listening.detach(),
    )


def _reach(slot: Slot, patience_s: float) -> Any:
    """Waits in Python first: a signal ends that wait at once, and would not end the one of TCPStore."""
    where, end = (slot.addresses[0], slot.store_port), time.monotonic() + patience_s
    while True:
        try:
            socket.create_connection(where, timeout=max(0.1, min(_CONNECT_S, end - time.monotonic()))).close()
            break
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(_SILENT_S)
    return dist.TCPStore(
        slot.addresses[0], slot.store_port, wait_for_workers=False, timeout=timedelta(seconds=patience_s)
    )
