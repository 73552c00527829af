"""Entries are canonical JSON, and whatever else stands in a ledger is named and never taken."""

import contextlib

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fedcore.ledger import entries
from fedcore.ledger.entries import MalformedEntryError, entry, parsed, parsed_each

NAMES = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=8).filter(
    lambda name: name not in ("kind", "at")
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
FACTS = st.one_of(
    TEXTS,
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.lists(TEXTS, max_size=4),
    st.dictionaries(NAMES, TEXTS, max_size=4),
)


@given(st.sampled_from(sorted(entries.KINDS)), st.integers(0, 2**40), st.dictionaries(NAMES, FACTS, max_size=6))
def test_the_bytes_are_those_of_rfc_8785_and_are_read_back(kind, at, facts):
    made = entries.Entry(kind, at, facts)
    assert made.canonical() == rfc8785.dumps({**facts, "kind": kind, "at": at})
    assert parsed(made.canonical()) == made


@given(st.binary(max_size=200))
def test_any_bytes_are_an_entry_or_malformed(data):
    with pytest.raises(MalformedEntryError):
        parsed(data)


@given(st.data())
def test_a_changed_byte_is_another_entry_or_malformed(data):
    whole = entry("accepted", 1.5, client="a", round=3, payloads={"update": "00" * 32}).canonical()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([data.draw(st.integers(0, 255).filter(lambda b: b != whole[at]))]) + whole[at + 1 :]
    with contextlib.suppress(MalformedEntryError):
        assert parsed(changed).canonical() == changed


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"at":1}',
        b'{"kind":"alert"}',
        b'{"at":1.0,"kind":"alert"}',
        b'{"at":"1","kind":"alert"}',
        b'{"at":1,"kind":"alert","x":1.5}',
        b'{"at":1,"kind":"alert","x":null}',
        b'{"at":1,"kind":"alert","x":NaN}',
        b'{"at":1,"kind":"alert","x":[1]}',
        b'{"at":1,"kind":"alert","x":{"a":{}}}',
        b'{"at":1,"kind":"alert","x":9007199254740993}',
        b'{"at":1, "kind":"alert"}',
        b'{"kind":"alert","at":1}',
        b'{"at":1,"at":1,"kind":"alert"}',
        b'{"at":1,"kind":"alert","x":"\\u0041"}',
        b'{"at":1,"kind":"alert"}\n',
        b'{"at":1,"kind":"alert","x":"\\ud800"}',
        b"[" * 100_000,
        '{"at":1,"kind":"alert","é":1}'.encode(),
    ],
)
def test_what_is_no_entry(data):
    with pytest.raises(MalformedEntryError):
        parsed(data)


WHOLE = [entry("refused", number, client="a", code="x,{}", message='"}').canonical() for number in range(4)]


@given(st.lists(st.one_of(st.sampled_from(WHOLE), st.binary(max_size=8)), max_size=6))
def test_many_are_read_as_each_is_and_the_first_that_is_none_is_named(some):
    def each(read):
        found = []
        with contextlib.suppress(MalformedEntryError):
            for one in read:
                found.append(one)  # noqa: PERF402 - as far as it comes
        return found

    assert each(parsed_each(some)) == each(map(parsed, some))


@pytest.mark.parametrize(
    "some",
    [
        [b'{"at":1,"kind":"a","x":"', b'"}', b'{"at":1,"kind":"a"},{"at":1,"kind":"a"}'],
        [b'{"at":1,"kind":"a"},{"at":1,"kind":"a"}'],
        [b'{"at":1,"kind":"a"}', b""],
        [b'{"at":1,"kind":"a"}', b' {"at":1,"kind":"a"}'],
        [b'{"at":1,"kind":"a"} ', b'{"at":1,"kind":"a"}'],
    ],
)
def test_many_that_are_whole_only_together_are_no_entries(some):
    with pytest.raises(MalformedEntryError):
        list(parsed_each(some))


def test_a_kind_of_a_newer_version_is_read():
    assert parsed(b'{"at":1,"kind":"unheardOf","x":1}').kind == "unheardOf"


def test_a_kind_that_nobody_knows_is_not_written():
    with pytest.raises(ValueError, match="kind is 'unheardOf': choose one of"):
        entry("unheardOf", 0.0)


def test_what_is_not_known_is_left_out_and_long_texts_are_cut():
    made = entry("refused", 2.0, client="a", message="x" * 5000, attempt=None)
    assert made.facts == {"client": "a", "message": "x" * 2000}


def test_what_no_entry_can_hold():
    with pytest.raises(ValueError, match=r"planned: .* bytes, an entry has 65535 at most"):
        entry("planned", 0.0, selected=["x" * 250] * 300)
    with pytest.raises(ValueError, match="'é' is no name of a fact"):
        entry("alert", 0.0, é="x")
    with pytest.raises(ValueError, match="'samples' is no text"):
        entry("alert", 0.0, samples=1.5)
