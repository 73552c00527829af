"""Policy roster: which sites the aggregator waits for."""

from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


def _ready(status: str, generation: int) -> s.Json:
    condition = {"type": "Ready", "status": status, "reason": "R", "lastTransitionTime": s.ago(1)}
    return {"conditions": [condition | {"observedGeneration": generation}]}


def test_paused_and_unready_sites_are_told_to_the_aggregator():
    clients = (
        s.site("a"), s.site("b", paused=True), s.site("c", status=_ready("False", 1)),
        s.site("d", status=_ready("False", 0)), s.site("e", labels={"x": "y"}, status=_ready("True", 1)),
    )  # fmt: skip
    assert s.roster(decide(s.observe(clients=clients), s.NOW)) == {
        "a": (True, ""), "b": (False, "Paused"), "c": (False, "NotReady"),
        "d": (True, ""),  # the condition is about an older generation
        "e": (True, ""),
    }  # fmt: skip
