"""The status of a job with as many sites as it can have."""

import json

from fedapi.crd.job_status import MAX_LISTED
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

OBJECT = 3 * 2**19  # bytes of a request to etcd (--max-request-bytes)


def test_status_lists_the_first_hundred_and_events_are_few():
    clients = tuple(s.site(name, status={"conditions": [s.not_ready()]}) for name in s.LONG[: 2 * MAX_LISTED])
    decision = decide(s.observe(clients=clients), s.NOW)
    assert len(decision.status["sites"]) == MAX_LISTED
    assert len(decision.events) <= MAX_LISTED + 10
    assert len(json.dumps(decision.status)) + MAX_LISTED * 1024 < OBJECT / 2  # the aggregator's leaves are as bounded
