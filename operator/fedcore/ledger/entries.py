"""Entries of a ledger: what happened, as canonical JSON (RFC 8785) of plain values. The kinds there are, and the one reader. Pure.

An entry is its bytes: they are what the tree holds. A reader takes kinds that it does not know, since a newer version may
have written them; who appends names one of `KINDS`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fedcore.ledger.tiles import MAX_ENTRY_BYTES

Fact = str | int | bool | list[str] | dict[str, str]
# What each kind is about. docs/ledger.md has the facts of each.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "started": "an aggregator took the job; what another had in memory at its death is not in the ledger",
        "restarted": "the ledger begins anew: a repair found the one before broken",
        "restored": "the job goes on from a backup of another",
        "configured": "the job's configuration is another one",
        "planned": "sites were selected for a round",
        "issued": "a site was given a URL, which is not told",
        "attested": "evidence was made of where the aggregator runs",
        "accepted": "a site's update counts",
        "refused": "what a site sent was not taken",
        "anomalous": "an update was found anomalous",
        "participants": "who takes part in a sum of masked or encrypted updates",
        "survivors": "whose masked or encrypted updates are summed, which sites may open from here on",
        "opened": "sites gave what opens that sum",
        "attemptFailed": "an attempt ended without a commit",
        "evaluated": "a model was measured",
        "committed": "a round happened",
        "charged": "what the models up to a round tell of one site at most",
        "rollback": "what became of a request to go back to an earlier round",
        "undone": "updates are in the model no more, because of an anomaly",
        "alert": "somebody should look",
        "ended": "training is over",
        "approved": "an approver has signed for the final model",
        "rejected": "an approver has signed against it",
        "released": "enough have approved it",
    }
)
_MAX_INT = (1 << 53) - 1
_LONGEST = 2000  # characters of a text
_OWN = frozenset({"kind", "at"})


class MalformedEntryError(ValueError):
    """The bytes are no entry."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened."""

    kind: str
    at_ms: int  # since the epoch
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def canonical(self) -> bytes:
        """Its bytes. Names are ASCII and numbers are whole, so Python's writer makes what RFC 8785 asks for."""
        return _canonical({**self.facts, "kind": self.kind, "at": self.at_ms})


def entry(kind: str, at: float, **facts: Fact | None) -> Entry:
    """A new one; facts that are None are left out, texts are cut. ValueError for an unknown kind, or what no entry can hold."""
    if kind not in KINDS:
        raise ValueError(
            f"kind is {kind!r}: choose one of {', '.join(KINDS)}, or add it to fedcore.ledger.entries.KINDS"
        )
    told = {name: _cut(fact) for name, fact in facts.items() if fact is not None}
    made = Entry(kind, int(at * 1000), told)
    if why := _fault(told):
        raise ValueError(f"{kind}: {why}")
    if (size := len(made.canonical())) > MAX_ENTRY_BYTES:
        raise ValueError(f"{kind}: {size} bytes, an entry has {MAX_ENTRY_BYTES} at most")
    return made


def parsed(data: bytes) -> Entry:
    """The entry of these bytes. MalformedEntryError says what is wrong with them."""
    said = _object(data)
    found = _checked(said)
    if _canonical(said) != data:
        raise MalformedEntryError("it is not written as RFC 8785 asks for")
    return found


def parsed_each(some: Sequence[bytes]) -> Iterator[Entry]:
    """The same of many, in their order; what is malformed is raised in its turn.

    Whether they are canonical is asked of all together, which is much faster: a JSON object says itself where it ends, so the
    whole is as it should be where, and only where, each part is.
    """
    try:
        said = [_object(data) for data in some]
        found = [_checked(each) for each in said]
        are_canonical = _canonical(said) == b"[%b]" % b",".join(some)
    except MalformedEntryError:
        are_canonical = False
    yield from found if are_canonical else map(parsed, some)


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = _READER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise MalformedEntryError(f"it is no JSON: {str(error)[:100]}") from error
    if not isinstance(said, dict):
        raise MalformedEntryError("it is no JSON object")
    return said


def _checked(said: Mapping[str, Any]) -> Entry:
    """What an object says, as an entry."""
    facts = dict(said)
    kind, at_ms = facts.pop("kind", None), facts.pop("at", None)
    if not isinstance(kind, str) or not _is_whole(at_ms):
        raise MalformedEntryError("it does not say of what kind, and of when, it is")
    if why := _fault(facts):
        raise MalformedEntryError(why)
    return Entry(kind, at_ms, facts)


def _fault(facts: Mapping[str, object]) -> str:
    """What of this no entry holds; empty when all is well."""
    for name, fact in facts.items():
        if not name.isascii() or name in _OWN or (isinstance(fact, dict) and not all(map(str.isascii, fact))):
            return f"{name[:80]!r} is no name of a fact"
        if not (isinstance(fact, str) or _is_whole(fact) or _are_texts(fact)):
            return f"{name[:80]!r} is no text, whole number, list or table of texts"
    return ""


def _are_texts(fact: object) -> bool:
    texts = fact.values() if isinstance(fact, dict) else fact if isinstance(fact, list) else (None,)
    return all([isinstance(text, str) for text in texts])  # noqa: C419 - faster than a generator


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and -_MAX_INT <= value <= _MAX_INT


def _cut(fact: Fact) -> Fact:
    return fact[:_LONGEST] if isinstance(fact, str) else fact


def _canonical(value: Mapping[str, Any] | list[dict[str, Any]]) -> bytes:
    return _WRITER.encode(value).encode("utf-8", "replace")


def _no_constant(name: str) -> float:
    raise MalformedEntryError(f"{name} is no number")


# One of each: to make them takes as long as to use them.
_READER = json.JSONDecoder(parse_constant=_no_constant)
_WRITER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)
