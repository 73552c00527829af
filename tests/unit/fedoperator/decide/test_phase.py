"""Policy phase: the phase of a job under way."""

import pytest

from fedapi import names
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

AGGREGATOR = names.ROLE_AGGREGATOR


@pytest.mark.parametrize(
    ("status", "pods", "phase", "reason"),
    [
        (s.STARTED, (), "Pending", "Initializing"),
        (s.STARTED, (s.running(AGGREGATOR),), "Initializing", "Initializing"),
        (s.STARTED | {"model": s.MODEL}, (s.running(AGGREGATOR),), "Waiting", "WaitingForSites"),
        (s.in_round(), (), "Running", "Training"),
    ],
)
def test_phase_and_progress(status, pods, phase, reason):
    decision = decide(s.observe(s.job(status), pods=pods), s.NOW)
    assert decision.status["phase"] == phase
    assert s.condition(decision, "Progressing")[:2] == ("True", reason)
