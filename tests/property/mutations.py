"""What is almost right: bytes made of valid samples, and the one rule for whoever reads bytes from outside.

A parser gives a value or one of its own refusals, never another exception.
The fuzzers beside this module use it; their cases are always the same ones.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

_MARK = "\x00mark"
_RAW = (
    "null", "true", "0", "-1", "1.0", "1.5", "1e308", "1e999", "-0.0", "NaN", "-Infinity", "9007199254740993",
    "18446744073709551616", "9" * 400, "9" * 5000, '""', '"\\u0000"', '"\\ud800"', '"é"', '"\\n"', '"AAAA"', '"%"',
    '"' + "a" * 64 + '"', '"' + "x" * 5000 + '"', "[]", "{}", "[1]", '{"a":1}', '{"\\ud800":1}', '{"":null}', "[" * 200 + "]" * 200,
    "[" * 480 + "]" * 480, "[" * 3000 + "]" * 3000, '{"a":' * 300 + "1" + "}" * 300, "[" + "0," * 600 + "0]",
)  # fmt: skip
_SPLICED = (
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\n",
    b"\n\n",
    b"=",
    b"-1",
    b"+",
    b"\0" * 64,
    b"\xff" * 8,
    b"9" * 400,
    b"%s",
)
_KEYS = ("", "a", "__class__", "checksul", "payload", "payload_sha256", "é", "\ud800", "body", "x" * 300)


def check(parse: Callable[[bytes], object], samples: Sequence[bytes], *refusals: type[Exception], examples: int = 100):
    """Every sample is taken; each of so many mutations gives a value or one of these refusals."""
    for sample in samples:
        parse(sample)

    @settings(max_examples=examples)
    @given(st.integers(0, (1 << 64) - 1))
    def holds(seed):
        data = mutated(samples, random.Random(seed))
        with contextlib.suppress(*refusals):
            parse(data)

    holds()


def mutated(samples: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the samples with one or two faults; of JSON mostly such that it stays JSON."""
    data = chance.choice(samples)
    table = _table(data)
    if table is not None and chance.random() < 0.7:
        data = _other_json(table, chance)
    return data if table is not None and chance.random() < 0.7 else _other_bytes(data, chance)


def _other_bytes(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data)) if data else 0
    match chance.choice(("flip", "flip", "cut", "splice", "twice", "random")):
        case "flip" if data:
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "splice":
            return data[:at] + chance.choice(_SPLICED) + data[at + chance.randint(0, 64) :]
        case "twice":
            return data[:at] + data[chance.randint(0, at) :]
    return chance.randbytes(chance.randint(0, 40))


def _other_json(table: Any, chance: random.Random) -> bytes:
    """With another value, key or structure at one place."""
    raw, places = chance.choice(_RAW), [*_places(table)]
    if not places:
        return raw.encode()
    (parent, key), (other, its) = chance.choice(places), chance.choice(places)
    what = chance.choice(("value", "value", "value", "gone", "named", "swapped", "twice", "more"))
    if what == "value":
        parent[key] = _MARK
    elif what == "gone":
        del parent[key]
    elif what == "swapped":
        parent[key], other[its] = deepcopy(other[its]), deepcopy(parent[key])
    elif isinstance(parent, dict):
        name = key if what == "twice" else chance.choice(_KEYS)
        parent[_MARK] = parent.pop(key) if what == "named" else _MARK
        return _written(table, raw).replace(json.dumps(_MARK).encode(), json.dumps(name).encode())
    return _written(table, raw)


def _written(table: Any, raw: str) -> bytes:
    """The marked value replaced by what may be no JSON."""
    text = json.dumps(table)
    for before, after in ((": ", ""), ("[", ""), (", ", "]"), (", ", ",")):
        mark = f"{before}{json.dumps(_MARK)}{after}"
        text = text.replace(mark, f"{before}{raw}{after}")
    return text.encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Parent and key, or index, of everything in a JSON value."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from _places(value[key])


def _table(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
