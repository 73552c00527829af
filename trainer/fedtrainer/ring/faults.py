"""How a broken ring is told: one sentence, and the right exit code. Used by the adapters and the rendezvous."""

import ctypes
import os
import sys

from fedapi.outcome import Exit
from fedtrainer.errors import RingBrokenError
from fedtrainer.ring.slot import Slot

_LONGEST = 600  # characters of a library's own words, NCCL's come last; a termination message has room for 4096 bytes


def broken(slot: Slot, operation: str, error: object) -> RingBrokenError:
    """Says who noticed what, with whom, in which words of the library."""
    own = slot.addresses[slot.position]
    others = [address for address in slot.addresses if address != own]
    words = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    peers = f" with {', '.join(others)}" if others else ""
    return RingBrokenError(
        f"rank {slot.rank} of {slot.size} ({own}), generation {slot.generation}: {operation}{peers} failed: {words}"
    )


def end_softly(slot: Slot, library: str) -> None:
    """From now on a C++ exception that nobody catches ends the process as a broken ring, instead of aborting it.

    Horovod's thread throws when a peer goes away while it starts, the watchdog of torch's NCCL group whenever one does.
    """

    def end() -> None:
        print(broken(slot, library, "its thread ended: a peer went away"), file=sys.stderr, flush=True)  # noqa: T201
        os._exit(Exit.RING_BROKEN)

    handler = ctypes.CFUNCTYPE(None)(end)
    ctypes.CDLL("libstdc++.so.6")["_ZSt13set_terminatePFvvE"](handler)  # std::set_terminate
    _kept.append(handler)  # C++ holds no reference


_kept: list[object] = []
