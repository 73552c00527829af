"""The Lease that is a site's heartbeat."""

from fedoperator.decide.client import decide_client
from fedoperator.decide.decision import ObservedClient
from tests.unit.fedoperator import samples as s


def test_the_lease_is_the_sites_and_never_renewed_by_the_operator():
    (lease,) = decide_client(ObservedClient(s.site("berlin"), None), s.NOW).objects
    assert lease["metadata"]["name"] == "fedloom-site-berlin"
    assert lease["metadata"]["ownerReferences"][0]["kind"] == "FLClient"
    assert lease["spec"] == {"leaseDurationSeconds": 300}
