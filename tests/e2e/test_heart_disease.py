"""The first example: the same model embedded and on the cluster, whatever was killed in between."""

from pathlib import Path

import pytest
import yaml

from tests.e2e.world import prepare
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "heart-disease"
MANIFESTS = (EXAMPLE / "sites.yaml", EXAMPLE / "job.yaml")


def documents(*sources: Path):
    return [body for source in sources for body in yaml.safe_load_all(source.read_text())]


@pytest.fixture(scope="module")
def undisturbed(embedded_digest):
    """Digest of the model that `fedloom run` makes of the example, in a folder that nobody else writes."""
    return embedded_digest(documents(*MANIFESTS), EXAMPLE / "heart_disease.py", preparing=EXAMPLE / "prepare.py")


@pytest.fixture(scope="module")
def hospitals(platform, tmp_path_factory):
    """The example's documents and data; its image on the cluster."""
    deploy.task_image(platform, EXAMPLE, "localhost/fedloom-heart-disease:dev")
    maps = tmp_path_factory.mktemp("heart-disease") / "data.yaml"
    prepare(EXAMPLE / "prepare.py", "--configmaps", maps)
    return documents(maps, *MANIFESTS)


def test_the_model_is_the_embedded_one_after_aggregator_and_trainer_were_killed(world, hospitals, undisturbed):
    (job,) = (body["metadata"]["name"] for body in hospitals if body["kind"] == "FederatedJob")
    site = next(body["metadata"]["name"] for body in hospitals if body["kind"] == "FLClient")
    world.apply(hospitals)
    uid = world.get("fj", job)["metadata"]["uid"]
    world.wait("round 2", lambda: world.in_round(job, 2))
    world.kill("fedaggregator", uid)
    world.kill("fedtrainer", uid, site)
    status = world.completes(job)
    assert status["model"]["sha256"] == undisturbed
    assert status["round"]["progress"] == f"{status['round']['total']}/{status['round']['total']}"
