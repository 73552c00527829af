"""The Lease that is a site's heartbeat."""

import pytest

from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import ObservedClient
from fedoperator.desired.site_lease import beat_aside
from tests.unit.fedoperator import samples as s


def test_the_lease_is_the_sites_and_never_renewed_by_the_operator():
    (lease,) = decide_client(ObservedClient(s.site("berlin"), None), s.NOW).objects
    assert lease["metadata"]["name"] == "fedloom-site-berlin"
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "FLClient"
    assert lease["spec"] == {"leaseDurationSeconds": 300}


def lease(renewed, holder="x", seconds=300):
    spec = {"leaseDurationSeconds": seconds, "holderIdentity": holder} | ({"renewTime": renewed} if renewed else {})
    return {"kind": "Lease", "metadata": {"name": "l"}, "spec": spec}


FIRST = "2026-11-26T03:00:00.000000Z"


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (lease(FIRST), lease("2026-11-26T03:01:00.000000Z", "y"), False),
        (lease(FIRST), lease("2026-11-26T03:04:59.900000Z"), False),
        (lease(FIRST), lease("2026-11-26T03:05:00.000000Z"), True),  # it had been silent
        (lease(FIRST), lease("2026-11-26T02:59:00.000000Z"), True),  # written back by hand
        (lease(None), lease(FIRST), True),
        (lease(FIRST), lease(None), True),
        (lease(FIRST), lease("2026-11-26T03:01:00.000000Z", seconds=1), True),
    ],
)
def test_only_the_heartbeat_of_a_site_that_was_active_says_nothing_new(before, after, news):
    was, now = beat_aside(before, after)
    assert (was != now) is news
