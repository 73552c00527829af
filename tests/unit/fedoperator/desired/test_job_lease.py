"""The Lease of a job's one writer: there where the job's store needs it, and nowhere else."""

import pytest

from fedapi import names
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s


@pytest.mark.parametrize(
    ("storage", "leases"),
    [
        ({"s3": {"bucket": "models", "conditionalWrites": "LeaseFenced"}}, ["fedloom-job-heart"]),
        ({"s3": {"bucket": "models"}}, []),
        ({"gcs": {"bucket": "models"}}, []),
        ({}, []),
    ],
)
def test_it_is_made_for_a_store_without_conditional_writes_alone(storage, leases):
    made = decide(s.observe(s.job(storage=storage), (s.site("berlin"),)), s.NOW).objects
    found = [each for each in made if each["kind"] == "Lease"]
    assert [each["metadata"]["name"] for each in found] == leases
    for each in found:
        assert each["metadata"]["ownerReferences"][0]["uid"] == s.UID
        assert each["spec"] == {"leaseDurationSeconds": names.JOB_LEASE_S}, "holder and times are the aggregator's"
