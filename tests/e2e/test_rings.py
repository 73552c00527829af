"""Sites of several pods on the real cluster: the example two-rings with its TPU pool, and Jobs that live one round."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster import packages
from tests.e2e.world import World, commits, job, site
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EXAMPLE = Path(__file__).parents[2] / "examples" / "two-rings"
DATA = {"dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"}
TURN = "fedloom.dev/step"


@pytest.fixture(scope="module")
def images_of_clothing():
    """The Debian package that prepare.py reads."""
    packages.install(DATA)


@pytest.fixture(scope="module")
def undisturbed(images_of_clothing, tmp_path_factory):
    """Digest of the model that `fedloom run` makes of the example."""
    folder = tmp_path_factory.mktemp("embedded")
    for name in ("job.yaml", "sites.yaml", "two_rings.py"):
        shutil.copy(EXAMPLE / name, folder)
    subprocess.run([sys.executable, EXAMPLE / "prepare.py", "--out", folder], check=True)
    command = [sys.executable, "-m", "fedcli", "run", folder, "--workdir", folder / "state"]
    done = subprocess.run([*command, "--result", folder / "result.json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return World.read_result(folder / "result.json")["model"]["sha256"]


@pytest.fixture(scope="module")
def two_rings(platform, images_of_clothing, tmp_path_factory):
    """The example's documents and data; its two images on the cluster, whose node passes for one of TPUs."""
    deploy.task_image(platform, EXAMPLE, "localhost/fedloom-two-rings:dev")
    deploy.task_image(platform, EXAMPLE, "localhost/fedloom-two-rings-tpu:dev", "trainer-tpu")
    platform.pretend_tpu("tpu-v5-lite-podslice", "2x2", chips=8)
    maps = tmp_path_factory.mktemp("two-rings") / "images.yaml"
    subprocess.run([sys.executable, EXAMPLE / "prepare.py", "--configmaps", maps], check=True)
    sources = (maps, EXAMPLE / "sites.yaml", EXAMPLE / "job.yaml")
    return [body for source in sources for body in yaml.safe_load_all(source.read_text())]


def test_two_rings_of_unlike_machines_lose_a_worker_and_complete(world, two_rings, undisturbed):
    world.apply(two_rings)
    uid = world.get("fj", "two-rings")["metadata"]["uid"]
    world.wait("round 2", lambda: world.in_round("two-rings", 2))
    world.kill("fedtrainer", uid, "west", worker=1)
    status = world.completes("two-rings")
    assert status["round"]["progress"] == "4/4"
    assert status["model"]["sha256"] == undisturbed
    assert {entry["name"]: (entry["rounds"], entry["samples"]) for entry in status["clients"]} == {
        "east": (4, 1000),
        "west": (4, 1000),
    }
    assert float(status["headlineMetric"].removeprefix("accuracy ")) > 0.5
    (job_of_west,) = world.list("jobs", "fedloom.dev/role=trainer,fedloom.dev/client=west")
    pod = job_of_west["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["google.com/tpu"] == "4"
    assert pod["containers"][0]["image"] == "localhost/fedloom-two-rings-tpu:dev"
    assert set(world.generations("east")) == {"generation 1: workers 0, 1"}
    assert len(world.generations("west")) >= 2


def test_with_lifetime_round_only_selected_sites_have_pods(world, platform):
    sites = [site("north", pool={"workers": 2}), site("south"), site("west")]
    document = job(seconds="3", training={"lifetime": "Round"})
    document["spec"]["clients"] |= {"policy": "Random", "perRound": 2}
    world.apply([*sites, document])
    turns: dict[str, set[str]] = {}

    def watched():
        for each in world.list("jobs", "fedloom.dev/role=trainer"):
            turns.setdefault(each["metadata"]["labels"][TURN], set()).add(
                each["metadata"]["labels"]["fedloom.dev/client"]
            )
        return world.ended("paced")

    world.wait("the end", watched, every_s=0.1)
    assert world.condition("paced", "Complete").get("status") == "True", world.picture()
    claim = world.list("pvc", "fedloom.dev/job=paced")[0]["metadata"]["uid"]
    for record in commits(platform.dirs.run / "volumes" / f"pvc-{claim}")[1:]:
        assert turns[f"{record.round}-{record.attempt}"] == {p.client for p in record.participants}
    phases = lambda: {pod["status"]["phase"] for pod in world.list("pods", "fedloom.dev/role=trainer")}  # noqa: E731
    world.wait("pods to end", lambda: phases() <= {"Succeeded"}, 60)
