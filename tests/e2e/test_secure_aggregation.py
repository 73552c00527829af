"""The heart-disease consortium among competitors: mutual TLS, keys, sums under masks with noise of the hospitals, and one of them lost in every round.

And the same with encrypted sums, of which all hospitals hold the key.
"""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.e2e.world import prepare
from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EXAMPLE, DROPPING = Path(__file__).parents[2] / "examples" / "heart-disease", Path(__file__).parent / "dropping"
IMAGE, ROUNDS, EPSILON = "localhost/fedloom-dropping:dev", 4, 60


def _documents(**asked):
    spec = importlib.util.spec_from_file_location("secure_example", EXAMPLE / "secure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.documents(**asked)


@pytest.fixture(scope="module")
def data(platform, tmp_path_factory):
    """The example's data, and on the cluster the image of a task whose hospitals are lost in turn."""
    context = tmp_path_factory.mktemp("dropping") / "image"
    shutil.copytree(DROPPING, context)
    shutil.copy(EXAMPLE / "heart_disease.py", context)
    deploy.task_image(platform, context, IMAGE)
    maps = context.parent / "data.yaml"
    prepare(EXAMPLE / "prepare.py", "--configmaps", maps)
    return list(yaml.safe_load_all(maps.read_text()))


def consortium(data, rounds: int, entrypoint: str, **asked):
    """The example's documents for that."""
    documents = _documents(**asked)
    (job,) = (body for body in documents if body["kind"] == "FederatedJob")
    job["spec"] |= {"rounds": rounds, "round": {"quorum": "100%", "deadline": "10m"}}  # all share, and then three send
    job["spec"]["task"] |= {"entrypoint": entrypoint, "image": IMAGE, "imagePullPolicy": "Never"}
    job["spec"]["clients"] |= {"certificates": "Required"}
    return [*data, *documents]


def exported(world, status, path: Path) -> str:
    """The job's ledger, which holds by the public key of its status."""
    where = ("-n", world.namespace, "--kubeconfig", str(world.kubeconfig), "-o", str(path))
    command = [sys.executable, "-m", "fedcli", "ledger", "export", "heart-disease", *where]
    subprocess.run([*command, "--public-key", status["ledger"]["publicKey"]], check=True)
    return path.read_text()


def test_a_round_is_summed_without_the_hospital_that_was_lost_and_within_epsilon(world, data, tmp_path):
    world.apply(consortium(data, ROUNDS, "dropping:task", epsilon=EPSILON))
    status = world.completes("heart-disease")
    assert status["round"]["progress"] == f"{ROUNDS}/{ROUNDS}"
    assert status["privacy"]["mode"] == "Distributed"
    assert float(status["privacy"]["epsilon"]) == pytest.approx(EPSILON, rel=0.01)
    assert status["participants"] == "3/4"

    accepted = [
        line for line in exported(world, status, tmp_path / "ledger.jsonl").splitlines() if '"accepted"' in line
    ]
    assert len(accepted) == 3 * ROUNDS, "nobody sent what it was lost with"
    failures = {each["name"]: each.get("failures", 0) for each in status["clients"]}
    assert set(failures) == {"cleveland", "hungary", "long-beach", "switzerland"}


def test_updates_are_summed_that_the_aggregator_cannot_read(world, data, tmp_path):
    world.apply(consortium(data, 2, "heart_disease:task", encrypted=True))
    status = world.completes("heart-disease")
    assert (status["round"]["progress"], status["participants"]) == ("2/2", "4/4")
    ledger = exported(world, status, tmp_path / "ledger.jsonl").splitlines()
    assert sum('"opened"' in line for line in ledger) == 2
    assert sum('"accepted"' in line for line in ledger) == 4 * 2
