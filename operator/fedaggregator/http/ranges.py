"""Parts of objects, as HTTP asks for them (RFC 9110, section 14): one range of bytes with both ends. Used by blobs.py.

Whatever else is asked for is answered with the whole, as the standard lets a server do: a site sees it by the status.
"""

import re
from dataclasses import dataclass

from fedstore.objectstore import Reader

_ONE = re.compile(r"bytes=(\d{1,18})-(\d{1,18})")


@dataclass(frozen=True)
class Part:
    """A reader of a part of an object."""

    whole: Reader
    begin: int
    size: int

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """As of the whole, from the part's beginning."""
        self.whole.read_into(buffer, self.begin + offset)

    @property
    def content_range(self) -> bytes:
        """For the answer's header."""
        return f"bytes {self.begin}-{self.begin + self.size - 1}/{self.whole.size}".encode()


def asked(reader: Reader, header: str | None) -> Part | None:
    """The part that a request asks for; None: the whole."""
    found = _ONE.fullmatch(header) if header else None
    if found is None:
        return None
    begin, last = int(found[1]), int(found[2])
    return Part(reader, begin, last - begin + 1) if begin <= last < reader.size else None
