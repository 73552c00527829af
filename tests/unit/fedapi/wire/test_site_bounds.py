"""Whatever number or name a site sends, a record can hold it and a line of text can say it, or it is refused at the border."""

import json
from collections.abc import Iterator

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.requests import parsing
from fedapi.wire.message import LONGEST_NAME, MAX_EXACT, Record
from tests.golden.fedapi.messages import TO_HUB

FREE = {"reason", "message", "nonce", "key", "features"}  # with bounds of their own, or compared with what is expected
Path = tuple[str | int, ...]


def leaves(value: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
    """Every number and text of a message, and where it is."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(part, (*path, key))
    elif value is not None and not isinstance(value, bool):
        yield path, value


def changed(name: str, path: Path, value: object) -> bytes:
    said = json.loads(TO_HUB[name].model_dump_json())
    part = said
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return json.dumps(said).encode()


ALL = [(name, path, value) for name, m in TO_HUB.items() for path, value in leaves(json.loads(m.model_dump_json()))]
WHOLE = [(name, path) for name, path, value in ALL if isinstance(value, int)]
TEXTS = [(name, path) for name, path, value in ALL if isinstance(value, str) and not FREE & {*path}]


def test_there_is_something_to_look_at():
    assert {path[-1] for _, path in WHOLE} >= {"samples", "steps", "size", "round", "attempt", "protocol"}
    assert {path[-1] for _, path in TEXTS} >= {"client", "job_uid", "sha256"}


@pytest.mark.parametrize(("name", "path"), WHOLE)
def test_whole_numbers_are_those_that_json_holds_exactly(name, path):
    for wrong in (-1, MAX_EXACT + 1, 10**400, float("nan"), float("inf"), 1e300):
        with pytest.raises(RequestRefusedError, match=str(path[-1])):
            parsing.parsed(changed(name, path, wrong), type(TO_HUB[name]))
    largest = parsing.parsed(changed(name, path, MAX_EXACT), type(TO_HUB[name]))
    assert largest.canonical()
    assert not isinstance(largest, Record) or type(largest).stored(largest.sealed().canonical()) == largest.sealed()


@pytest.mark.parametrize(("name", "path"), TEXTS)
def test_names_have_an_end(name, path):
    with pytest.raises(RequestRefusedError, match=str(path[-1])):
        parsing.parsed(changed(name, path, "x" * (LONGEST_NAME + 1)), type(TO_HUB[name]))
