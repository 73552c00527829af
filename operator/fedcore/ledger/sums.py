"""Which sums of masked or encrypted updates a ledger tells of: who took part, whose updates were summed, who opened it, what became of it. Pure.

From the moment on at which a survivor set was named its sites may open the sum to the hub, whether or not a model comes of it. So
each named set counts as a sum here, and two of one model tell their difference.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from fedcore.ledger.entries import Entry

End = Literal["committed", "failed", "not over"]
_Key = tuple[object, object]  # round and attempt


class UnsoundSumError(ValueError):
    """What is told of a sum cannot be. `entry`: its number."""

    def __init__(self, message: str, entry: int) -> None:
        super().__init__(message)
        self.entry = entry


@dataclass(frozen=True)
class Sum:
    """Of one attempt."""

    round: object
    attempt: object
    base_sha256: str = ""
    participants: frozenset[str] = frozenset()
    survivors: frozenset[str] = frozenset()
    openers: frozenset[str] = frozenset()  # who gave the hub the sum
    end: End = "not over"
    rho: str = ""  # what a failed one has charged, where sites add noise

    def text(self) -> str:
        """For a person."""
        of, cost = ", ".join(sorted(self.survivors)), f", rho {self.rho}" if self.rho else ""
        return f"round {self.round} attempt {self.attempt} ({self.end}{cost}), of {of}"


def told(entries: Iterable[Entry]) -> list[Sum]:
    """Those whose survivor set was named, oldest first. UnsoundSumError where one cannot be as it is told."""
    bases: dict[_Key, str] = {}
    under_way: dict[_Key, Sum] = {}
    found: list[Sum] = []
    for number, each in enumerate(entries):
        key = each.facts.get("round"), each.facts.get("attempt")
        if each.kind == "planned":
            bases[key] = str(each.facts.get("base_sha256", ""))
            continue
        if each.kind == "participants" and each.facts.get("first") == 0:
            found.extend(_named(under_way.pop(key, None)))  # the same round and attempt, made anew after a repair
            under_way[key] = Sum(*key, bases.get(key, ""))
        if key in under_way:
            under_way[key] = made = _with(under_way[key], each)
            if why := _fault(made):
                raise UnsoundSumError(f"round {made.round} attempt {made.attempt}: {why}", number)
    return [*found, *(each for one in under_way.values() for each in _named(one))]


def of_one_model(sums: Iterable[Sum]) -> Mapping[str, list[Sum]]:
    """By the model that they were trained from: those of models of which there is more than one."""
    by_base: dict[str, list[Sum]] = {}
    for each in sums:
        by_base.setdefault(each.base_sha256, []).append(each)
    return {base: some for base, some in by_base.items() if len(some) > 1}


def _with(sum_: Sum, said: Entry) -> Sum:
    match said.kind:
        case "participants":
            return replace(sum_, participants=sum_.participants | _names(said, "participants"))
        case "survivors":
            return replace(sum_, survivors=sum_.survivors | _names(said, "survivors"))
        case "opened":
            return replace(sum_, openers=sum_.openers | _names(said, "openers"))
        case "attemptFailed":
            return replace(sum_, end="failed", rho=str(said.facts.get("rho", "")))
        case "committed":
            return replace(sum_, end="committed")
        case _:
            return sum_


def _fault(made: Sum) -> str:
    if strangers := made.survivors - made.participants:
        return f"{', '.join(sorted(strangers))} survived, and had not taken part"
    if strangers := made.openers - made.survivors:
        return f"{', '.join(sorted(strangers))} opened the sum, and had not survived"
    if made.end == "committed" and not made.openers:
        return "it was committed, and nobody had opened its sum"
    return ""


def _names(said: Entry, fact: str) -> frozenset[str]:
    names = said.facts.get(fact)
    return frozenset(names) if isinstance(names, list) else frozenset()


def _named(sum_: Sum | None) -> Iterator[Sum]:
    if sum_ is not None and sum_.survivors:
        yield sum_
