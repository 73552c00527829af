"""The table of kinds."""

from fedoperator.desired.kinds import BY_KIND


def test_claims_and_jobs_are_not_wholly_ours():
    left = {"PersistentVolumeClaim", "Job", "JobSet", "Lease", "Secret"}
    assert not any(BY_KIND[kind].wholly_ours for kind in left)
