"""The example of a confidential aggregator, and what Fedloom renders of it for every platform, before a real API server."""

from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJob
from fedapi.crd.flclient import FLClient
from fedoperator.decide.job import decide
from fedoperator.desired.kinds import BY_KIND
from tests.unit.fedoperator import samples as s

pytestmark = pytest.mark.apiserver

EXAMPLE = Path(__file__).parents[3] / "examples" / "confidential"
PLATFORMS = (
    {"type": "SEV-SNP", "platform": "Kata", "initData": "H4sIAAAA"},
    {"type": "SEV-SNP", "platform": "AKS"},
    {"type": "TDX", "platform": "GKE"},
    {"type": "NitroEnclave", "platform": "EKS", "enclaveMemory": "2Gi"},
    {"type": "TDX", "platform": "Other", "runtimeClassName": "kata-remote"},
)


def asked(api, body):
    """Without keeping it; unknown fields are refused."""
    path = BY_KIND[body["kind"]].path("default")
    return api.connection.request("POST", path, dict(body), query={"dryRun": "All", "fieldValidation": "Strict"})


def example(name):
    body = yaml.safe_load((EXAMPLE / name).read_text())
    body["metadata"]["namespace"] = "default"
    return body


@pytest.mark.parametrize("confidential", PLATFORMS, ids=lambda each: each["platform"])
def test_what_is_rendered_for_a_platform_is_admitted(api, confidential):
    body = example("job.yaml")
    body["spec"]["aggregator"]["confidential"] = confidential
    made, site = FederatedJob.parse(asked(api, body)), FLClient.parse(asked(api, example("site.yaml")))
    (deployment,) = (each for each in decide(s.observe(made, (site,)), s.NOW).objects if each["kind"] == "Deployment")
    stored = asked(api, deployment)["spec"]["template"]["spec"]
    assert stored.get("runtimeClassName") == deployment["spec"]["template"]["spec"].get("runtimeClassName")
    limits = stored["containers"][0]["resources"]["limits"]
    assert ("aws.ec2.nitro/nitro_enclaves" in limits) == (confidential["platform"] == "EKS")


def test_the_example_s_site_takes_part_in_the_example_s_job(api):
    made, site = FederatedJob.parse(asked(api, example("job.yaml"))), FLClient.parse(asked(api, example("site.yaml")))
    assert s.roster(decide(s.observe(made, (site,)), s.NOW)) == {"clinic": (True, "")}
