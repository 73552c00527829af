"""Termination messages that are almost right, as a task can leave them: text for the status, whatever they say."""

import json
import unicodedata

from fedoperator.decide import view
from tests.property.mutations import check

SAMPLES = [
    json.dumps({"level": "ERROR", "message": "the ring is broken", "error": "Traceback\nValueError: x"}).encode(),
    b"some\nlines\n" + json.dumps({"message": "ended"}).encode(),
    b"Fatal Python error: Segmentation fault\n  File x\nExtension modules: numpy\n",
]


def shown(data: bytes) -> None:
    """What is no character to show would break the line that it is shown in."""
    assert not any(
        unicodedata.category(each) in {"Cc", "Cs"} for each in view.last_words(data.decode("utf-8", "replace"))
    )


def test_last_words_can_be_shown():
    check(shown, SAMPLES, examples=300)
