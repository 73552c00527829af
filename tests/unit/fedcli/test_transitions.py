"""What is told of a job's sites from one look to the next."""

from fedcli.transitions import transitions
from fedcore.rounds import claims
from tests.unit.fedcore.rounds import test_round_rules as rules


def told(before: str, after: str, state: str = "Accepted") -> list[str]:
    looks = (
        {"clients": [{"name": "a", "state": at, "message": text}]}
        for at, text in (("Training", before), (state, after))
    )
    return transitions(*looks)


def test_a_warning_of_a_site_is_told_once():
    state = rules.collecting()
    state = state.with_site("a", claims.taken(state, rules.manifest(state, "a", samples=5)))
    jumped = claims.taken(state, rules.manifest(state, "a", samples=500, round=2)).message
    assert told("", jumped) == [f"site a: {jumped}"]
    assert told(jumped, jumped) == told("", "") == []
    assert told("", jumped, "Late") == ["site a: Late"], "of an earlier round"
