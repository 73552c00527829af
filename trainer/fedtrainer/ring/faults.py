"""The one sentence in which a failed operation of a ring is told. Used by the adapters and the meeting."""

from fedtrainer.errors import RingBroken
from fedtrainer.ring.seat import Seat

_LONGEST = 300  # characters of a library's own words; a termination message has room for 4096 bytes


def broken(seat: Seat, operation: str, error: object) -> RingBroken:
    """Says who noticed what, with whom, in which words of the library."""
    own = seat.addresses[seat.position]
    others = [address for address in seat.addresses if address != own]
    words = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    peers = f" with {', '.join(others)}" if others else ""
    return RingBroken(
        f"rank {seat.rank} of {seat.size} ({own}), generation {seat.generation}: {operation}{peers} failed: {words}"
    )
