"""What init and training Jobs share."""

from fedapi import names, outcome
from fedoperator.desired import jobs
from tests.unit.fedoperator.desired import manifests as m


def test_jobs_fail_on_fatal_codes_only_and_never_carry_suspend():
    for manifest in m.pods()[:2]:
        disrupted, ignore, fail = manifest["spec"]["podFailurePolicy"]["rules"]
        assert [rule["action"] for rule in (disrupted, ignore, fail)] == ["Ignore", "Ignore", "FailJob"]
        assert ignore["onExitCodes"]["values"] == sorted(outcome.IGNORED)
        assert fail["onExitCodes"]["values"] == sorted(outcome.FATAL)
        of_one = manifest["metadata"]["labels"][names.LABEL_ROLE] == names.ROLE_TRAINER
        assert fail["onExitCodes"].get("containerName") == (m.container(manifest)["name"] if of_one else None)
        assert manifest["spec"]["podReplacementPolicy"] == "Failed"
        assert "suspend" not in manifest["spec"]


def test_jobs_are_created_suspended():
    training, init, aggregator = m.pods()
    for made in (training, init):
        assert jobs.created(made)["spec"]["suspend"] is True
        assert "suspend" not in made["spec"]
    assert jobs.created(aggregator) == aggregator
