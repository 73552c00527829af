"""Every strategy of the API by `fedloom run`'s own code over real processes."""

import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from fedapi.crd.strategy import Strategy
from tests.integration.fedlocal import custom, strategies, together
from tests.integration.fedlocal.strategies import TABLE

ROUNDS = 2
FEWEST, MOST = 3, 7  # sites: no more than a strategy needs, for every one takes its time


def sites_of(name):
    return max(FEWEST, strategies.fewest(name))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strategies")
    shutil.copy(Path(__file__).parent / "task" / "norm.py", folder)
    task = {"entrypoint": "norm:task", "image": "none"}
    jobs = [strategies.job(name, sites_of(name), task=task, rounds=ROUNDS) for name in TABLE]
    sites = [strategies.numbered(number) for number in range(MOST)]
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all([*jobs, *sites]))
    with custom.installed(tmp_path_factory.mktemp("packages")):
        yield together.run_all(folder, TABLE)


def model(ran, name):
    ending, state = ran[name]
    sha256 = ending.job["status"]["model"]["sha256"]
    (path,) = state.root.glob(f"claims/*/models/**/*-{sha256}.safetensors")
    return load_file(path)


def test_the_table_has_every_strategy_of_the_api():
    assert {strategy["name"] for strategy, _ in TABLE.values()} == strategies.NAMES
    fields = set(Strategy.model_json_schema()["properties"]) - {"name", "subModels"}  # which test_submodels.py has
    assert {field for strategy, _ in TABLE.values() for field in strategy} - {"name"} == fields


@pytest.mark.parametrize("name", TABLE)
def test_it_completes_with_every_site_in_every_round(ran, name):
    ending, _ = ran[name]
    assert ending.phase == "Complete", (ending.phase, ending.message)
    status, sites = ending.job["status"], sites_of(name)
    assert (status["round"]["committed"], status["participants"]) == (ROUNDS, f"{sites}/{sites}")
    assert {client["rounds"] for client in status["clients"]} == {ROUNDS}
    assert {metric["round"] for metric in status["metrics"]} == {ROUNDS}


@pytest.mark.parametrize("name", TABLE)
def test_buffers_and_counters_are_those_of_the_sites_and_not_stepped(ran, name):
    """Each site has seen so many batches a round: whatever the rule for parameters, the counter says so."""
    found, training = model(ran, name), TABLE[name][1]
    assert found["0.num_batches_tracked"] == ROUNDS * 32 // training.get("batchSize", 32)
    assert (found["0.running_var"] > 0.5).all(), "a mean of values near 1, never a step of an optimizer"


def test_each_makes_a_model_of_its_own_but_for_fednova_where_all_sites_make_as_many_steps(ran):
    digests = {name: ending.job["status"]["model"]["sha256"] for name, (ending, _) in ran.items()}
    assert digests.pop("fednova") == digests["fedavg"]
    assert len(set(digests.values())) == len(digests)
