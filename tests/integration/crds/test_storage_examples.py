"""The examples of stores and backups, and all that Fedloom renders from them, before a real API server."""

from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.job_status import FederatedJobStatus
from fedoperator.decide.job import decide
from fedoperator.desired.kinds import BY_KIND
from tests.unit.fedoperator import samples as s

pytestmark = pytest.mark.apiserver

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "storage").glob("*.yaml"))


def asked(api, body):
    """Without keeping it; unknown fields are refused."""
    path = BY_KIND[body["kind"]].path("default")
    return api.connection.request("POST", path, dict(body), query={"dryRun": "All", "fieldValidation": "Strict"})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_and_what_is_made_of_it_are_admitted(api, path):
    body = yaml.safe_load(path.read_text())
    body["metadata"]["namespace"] = "default"
    made = FederatedJob.parse(asked(api, body))
    later = made.model_copy(update={"status": FederatedJobStatus.read(s.in_round())})
    objects = [*decide(s.observe(made), s.NOW).objects, *decide(s.observe(later), s.NOW).objects]
    for each in objects:
        asked(api, each)
    kinds = {(each["kind"], each["metadata"]["name"]) for each in objects}
    assert (("CronJob", "heart-verify") in kinds) == (made.spec.backup is not None)
    assert any(name.startswith("heart-restore-") for _, name in kinds) == (made.spec.restore_from is not None)


def test_every_cloud_and_a_restore_are_among_them():
    assert {path.stem for path in EXAMPLES} == {"azure", "gcs", "restore", "s3-compatible", "s3-irsa"}
