"""Whether a client moves bytes fast enough: a credit of seconds that time drains and bytes refill. Pure.

One rule for silence and for trickling: nothing for `stall_s`, or less than the least rate for as long, and it is over;
however much came before. Used for bodies that come and for answers that are read.
"""

from dataclasses import dataclass, field


@dataclass
class Pace:
    """The credit of one body or answer."""

    stall_s: float
    least_bytes_per_s: int
    left_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.left_s = self.stall_s

    def moved(self, seconds: float, count: int) -> bool:
        """Takes note that it took so long to move so many bytes; False when the credit is used up."""
        self.left_s = min(self.stall_s, self.left_s - seconds + count / self.least_bytes_per_s)
        return self.left_s > 0
