"""A status outlives the version that wrote it: after a downgrade what nobody here understands is left out, and the rest is read."""

import pytest

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.jsonvalue import Json

SITE = {"name": "a", "state": "Training", "samples": 5}
STATUS: Json = {
    "phase": "Training",
    "startTime": "2026-11-22T11:00:00Z",
    "outcome": {"result": "Failed", "reason": "Any", "time": "2026-11-22T12:00:00Z"},
    "round": {"current": 3, "total": 5, "step": "Train", "selected": ["a"]},
    "clients": [SITE, {"name": "b", "state": "Idle"}],
    "conditions": [
        {"type": t, "status": "True", "reason": "R", "lastTransitionTime": "2026-11-22T11:00:00Z"} for t in ("X", "Y")
    ],
}


@pytest.mark.parametrize(
    ("newer", "left"),
    [
        ({}, {}),
        ({"carbon": {"grams": 5}}, {}),
        ({"clients": [{"name": "b", "state": "Unmasking"}, SITE]}, {"clients": [SITE]}),
        ({"clients": [{"name": "b", "state": "Unmasking"}]}, {"clients": []}),
        ({"round": STATUS["round"] | {"step": "Unmask"}}, {"round": None}),
        ({"outcome": STATUS["outcome"] | {"result": "Stopped"}}, {"outcome": None}),
        ({"conditions": [STATUS["conditions"][0] | {"status": "Perhaps"}, STATUS["conditions"][1]]}, {"conditions": STATUS["conditions"][1:]}),
        ({"clients": 7, "phase": ["x"]}, {"clients": None, "phase": None}),
    ],
)  # fmt: skip
def test_what_only_a_newer_version_understands_is_left_out(newer, left):
    assert FederatedJobStatus.read(STATUS | newer) == FederatedJobStatus.model_validate(STATUS | left)


def test_both_resources_are_parsed_so():
    metadata = {"name": "n", "namespace": "ns", "uid": "u"}
    spec = {"task": {"entrypoint": "m:f", "image": "i"}, "rounds": 1}
    job = FederatedJob.parse({"metadata": metadata, "spec": spec, "status": {"round": {"current": 1, "total": 1, "step": "Unmask"}}})  # fmt: skip
    assert job.status.round is None
    site = FLClient.parse({"metadata": metadata, "spec": {"provider": "AWS"}, "status": {"active": "sometimes", "accelerators": "1"}})  # fmt: skip
    assert (site.status.active, site.status.accelerators) == (None, "1")
    assert FederatedJob.parse({"metadata": metadata, "spec": spec}).status == FederatedJobStatus()
