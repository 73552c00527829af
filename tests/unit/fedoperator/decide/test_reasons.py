"""The enumerated words: each is explained, fits its field and is used."""

import re
from pathlib import Path

import pytest

import fedoperator
from fedoperator.decide.reasons import ClientCondition, ConditionType, EventReason, Phase, Reason, Word

SOURCES = "".join(p.read_text() for p in Path(fedoperator.__path__[0]).rglob("*.py") if p.name != "reasons.py")
WORDS = [word for kind in (ClientCondition, ConditionType, EventReason, Phase, Reason) for word in kind]
# Reached through fedapi.outcome: the exit codes' own reasons.
BY_EXIT_CODE = {Reason.DATA_MISSING}


@pytest.mark.parametrize("word", WORDS, ids=lambda word: f"{type(word).__name__}.{word.name}")
def test_word(word: Word):
    assert re.fullmatch(r"[A-Z][A-Za-z]{0,62}", word)
    assert word.__doc__
    assert word.__doc__.endswith(".")
    assert word in BY_EXIT_CODE or re.search(rf"(\b{type(word).__name__}|\bType)\.{word.name}\b", SOURCES)
