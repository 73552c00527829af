"""Policy Fair: who waited longest comes first; a straggler keeps its place once."""

from collections import Counter
from dataclasses import replace

from fedcore.rounds.participation import Participation, in_vain
from fedcore.selection import fair
from fedcore.selection.candidates import Candidate
from tests.unit.fedcore.selection.drawing import draw, names


def rounds(parts: dict[str, Participation], count: int, until: int, failing: frozenset[str] = frozenset()):
    """Plays rounds; yields who was selected in each."""
    for round_ in range(1, until + 1):
        candidates = [Candidate(name, turn=part.turn) for name, part in sorted(parts.items())]
        chosen = names(fair.chosen(candidates, draw(count, round_)))
        for name in chosen:
            part = parts[name]
            parts[name] = in_vain(part, round_, 1.0) if name in failing else replace(part, last_round=round_, missed=0)
        yield chosen


def test_all_get_their_turn_before_anybody_gets_a_second():
    parts = {f"s{n}": Participation() for n in range(6)}
    drawn = list(rounds(parts, 2, 9))
    for begin in (0, 3, 6):
        assert sorted(name for chosen in drawn[begin : begin + 3] for name in chosen) == sorted(parts)


def test_a_straggler_is_selected_again_at_once_and_then_waits_like_others():
    parts = {f"s{n}": Participation() for n in range(5)}
    drawn = list(rounds(parts, 1, 20, failing=frozenset({"s2"})))
    first = next(n for n, chosen in enumerate(drawn) if chosen == ["s2"])
    assert any(chosen == ["s2"] for chosen in drawn[first + 1 : first + 5]), "it keeps its place: one more chance"
    seen = Counter(name for chosen in drawn for name in chosen)
    assert all(seen[name] >= 3 for name in parts), "and does not keep the others out"
