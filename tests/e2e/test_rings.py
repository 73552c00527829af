"""Sites of several pods on the real cluster: the example two-rings with its TPU pool, and Jobs that live one round."""

from pathlib import Path

import pytest
import yaml

from tests.cluster import packages
from tests.e2e.world import commits, job, prepare, site
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "two-rings"
TASK = EXAMPLE / "two_rings.py"
ROUNDS = 3  # of the example's four: one before the loss, the one with it, one after it
DATA = {"dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"}


@pytest.fixture(scope="module")
def images_of_clothing():
    """The Debian package that prepare.py reads."""
    packages.install(DATA)


def documents(*more: Path):
    """The example's sites and job, and what else is given."""
    sources = (*more, EXAMPLE / "sites.yaml", EXAMPLE / "job.yaml")
    found = [body for source in sources for body in yaml.safe_load_all(source.read_text())]
    next(body for body in found if body["kind"] == "FederatedJob")["spec"]["rounds"] = ROUNDS
    return found


@pytest.fixture
def undisturbed(images_of_clothing, embedded_digest):
    """Digest of the model that `fedloom run` makes of the example."""
    return embedded_digest(documents(), TASK, preparing=EXAMPLE / "prepare.py")


@pytest.fixture(scope="module")
def two_rings(platform, images_of_clothing, tmp_path_factory):
    """The example's documents and data; its two images on the cluster, whose node passes for one of TPUs."""
    deploy.task_image(platform, EXAMPLE, "localhost/fedloom-two-rings:dev")
    deploy.task_image(platform, EXAMPLE, "localhost/fedloom-two-rings-tpu:dev", "trainer-tpu")
    platform.pretend_tpu("tpu-v5-lite-podslice", "2x2", chips=8)
    maps = tmp_path_factory.mktemp("two-rings") / "images.yaml"
    prepare(EXAMPLE / "prepare.py", "--configmaps", maps)
    return documents(maps)


def test_two_rings_of_unlike_machines_lose_a_worker_and_complete(world, two_rings, undisturbed):
    world.apply(two_rings)
    uid = world.get("fj", "two-rings")["metadata"]["uid"]
    world.wait("round 2", lambda: world.in_round("two-rings", 2))
    world.kill("fedtrainer", uid, "west", worker=1)
    status = world.completes("two-rings")
    assert status["round"]["progress"] == f"{ROUNDS}/{ROUNDS}"
    assert status["model"]["sha256"] == undisturbed
    assert {entry["name"]: (entry["rounds"], entry["samples"]) for entry in status["clients"]} == {
        "east": (ROUNDS, 1000),
        "west": (ROUNDS, 1000),
    }
    assert float(status["headlineMetric"].removeprefix("accuracy ")) > 0.5
    (job_of_west,) = world.list("jobs", "fedloom.dev/role=trainer,fedloom.dev/client=west")
    pod = job_of_west["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == "4"
    assert pod["containers"][0]["image"] == "localhost/fedloom-two-rings-tpu:dev"
    assert set(world.generations("east")) == {"generation 1: workers 0, 1"}
    assert len(world.generations("west")) >= 2


def test_with_lifetime_round_only_selected_sites_have_pods(world, platform):
    """Its seed selects north and west, then south and west: a ring that goes, a site that comes, and one that stays."""
    sites = [site("north", pool={"workers": 2}), site("south"), site("west")]
    document = job(seconds="2", rounds=2, training={"lifetime": "Round"})
    document["spec"]["clients"] |= {"policy": "Random", "perRound": 2}
    world.apply([*sites, document])
    seen: dict[str, set[str]] = {}  # plan step -> sites that had a Job for it, which lives longer than any look takes

    def watched():
        for each in world.list("jobs", "fedloom.dev/role=trainer"):
            labels = each["metadata"]["labels"]
            seen.setdefault(labels["fedloom.dev/step"], set()).add(labels["fedloom.dev/client"])
        return world.ended("paced")

    world.wait("the end", watched)
    assert world.condition("paced", "Complete").get("status") == "True", world.picture()
    claim = world.list("pvc", "fedloom.dev/job=paced")[0]["metadata"]["uid"]
    first, last = commits(platform.dirs.run / "volumes" / f"pvc-{claim}")[1:]
    for record in (first, last):
        assert seen[f"{record.round}-{record.attempt}"] == {p.client for p in record.participants}
    assert {p.client for p in first.participants} != {p.client for p in last.participants}
    phases = lambda: {pod["status"]["phase"] for pod in world.list("pods", "fedloom.dev/role=trainer")}  # noqa: E731
    world.wait("pods to end", lambda: phases() <= {"Succeeded"})
