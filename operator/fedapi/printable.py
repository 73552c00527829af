"""Text of others made safe for a terminal. Called wherever words of a site, a task or a cluster are printed.

A control character can move the cursor, change colours, set the title or answer for the user (ECMA-48); a bidirectional
or invisible one (Unicode TR 36) makes a line look like another. All are shown as escapes instead.
"""

import re

_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f"  # C0 without the line feed, DEL, C1
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\uffff"  # invisible, bidirectional, no character
    "\ud800-\udfff\U000e0000-\U000e0fff]"  # halves of characters, tags and variation selectors
)
CONTINUED = "\n    "  # a further line of a text, so that it cannot pass for a line of the program's own


def visible(text: str) -> str:
    """The text with unsafe characters as escapes of Python's; line feeds stay. For what others will print: a status."""
    return _UNSAFE.sub(_escaped, text)


def printable(text: str) -> str:
    """The text with unsafe characters as escapes of Python's, tabs as spaces and further lines indented."""
    lines = text.replace("\r\n", "\n").replace("\t", "    ").strip("\n").split("\n")
    return CONTINUED.join(map(visible, lines))


def in_a_cell(text: str) -> str:
    """The same with line feeds as escapes, for a cell of a table."""
    return visible(text).replace("\n", "\\n")


def fit_for_a_name(text: str) -> bool:
    """Whether a person can read the text as a name: visible characters, no spaces around them, nothing to escape."""
    return bool(text) and text == text.strip() == in_a_cell(text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
