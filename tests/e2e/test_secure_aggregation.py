"""The heart-disease consortium among competitors: mutual TLS, keys, sums under masks with noise of the hospitals, and one of them lost in every round."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tools import deploy

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
EXAMPLE, DROPPING = Path(__file__).parents[2] / "examples" / "heart-disease", Path(__file__).parent / "dropping"
IMAGE, ROUNDS, EPSILON = "localhost/fedloom-dropping:dev", 4, 60


def _documents():
    spec = importlib.util.spec_from_file_location("secure_example", EXAMPLE / "secure.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.documents(EPSILON)


@pytest.fixture(scope="module")
def consortium(platform, tmp_path_factory):
    """The example's documents and data, with a task whose hospitals are lost in turn; its image on the cluster."""
    context = tmp_path_factory.mktemp("dropping") / "image"
    shutil.copytree(DROPPING, context)
    shutil.copy(EXAMPLE / "heart_disease.py", context)
    deploy.task_image(platform, context, IMAGE)
    maps = context.parent / "data.yaml"
    subprocess.run([sys.executable, EXAMPLE / "prepare.py", "--configmaps", maps], check=True)
    documents = _documents()
    (job,) = (body for body in documents if body["kind"] == "FederatedJob")
    job["spec"] |= {"rounds": ROUNDS, "round": {"quorum": "100%", "deadline": "10m"}}  # all share, and then three send
    job["spec"]["task"] |= {"entrypoint": "dropping:task", "image": IMAGE, "imagePullPolicy": "Never"}
    job["spec"]["clients"] |= {"certificates": "Required"}
    return [*yaml.safe_load_all(maps.read_text()), *documents]


def test_a_round_is_summed_without_the_hospital_that_was_lost_and_within_epsilon(world, consortium, tmp_path):
    world.apply(consortium)
    status = world.completes("heart-disease")
    assert status["round"]["progress"] == f"{ROUNDS}/{ROUNDS}"
    assert status["privacy"]["mode"] == "Distributed"
    assert float(status["privacy"]["epsilon"]) == pytest.approx(EPSILON, rel=0.01)
    assert status["participants"] == "3/4"

    where = ("-n", world.namespace, "--kubeconfig", str(world.kubeconfig))
    command = [
        sys.executable,
        "-m",
        "fedcli",
        "ledger",
        "export",
        "heart-disease",
        *where,
        "-o",
        str(tmp_path / "ledger.jsonl"),
    ]
    subprocess.run([*command, "--public-key", status["ledger"]["publicKey"]], check=True)
    accepted = [line for line in (tmp_path / "ledger.jsonl").read_text().splitlines() if '"accepted"' in line]
    assert len(accepted) == 3 * ROUNDS, "nobody sent what it was lost with"
    failures = {each["name"]: each.get("failures", 0) for each in status["clients"]}
    assert set(failures) == {"cleveland", "hungary", "long-beach", "switzerland"}
