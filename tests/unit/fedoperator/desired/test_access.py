"""What the aggregator may do in the API."""

import json

from fedoperator.desired import access
from fedoperator.desired.identity import Identity
from tests.unit.fedoperator import samples as s


def test_the_role_without_sites_names_no_leases():
    identity = Identity.of(s.job())
    assert [rule["resources"] for rule in access.aggregator_role(identity, [])["rules"]] == [
        ["federatedjobs"], ["federatedjobs/status"],
    ]  # fmt: skip
    assert all(rule["resourceNames"] for rule in access.aggregator_role(identity, ["a"])["rules"])


def test_a_fenced_job_s_lease_is_the_one_more_that_its_aggregator_may_hold():
    identity = Identity.of(s.job())
    (rule,) = (
        each for each in access.aggregator_role(identity, ["a"], fenced=True)["rules"] if "leases" in each["resources"]
    )
    assert (rule["resourceNames"], rule["verbs"]) == (["fedloom-job-heart", "fedloom-site-a"], ["get", "patch"])


OBJECT = 3 * 2**19  # bytes of a request to etcd (--max-request-bytes)


def test_the_role_with_every_sites_lease_fits_etcd():
    assert len(json.dumps(access.aggregator_role(Identity("research", "j" * 52, s.UID), s.LONG))) < OBJECT
