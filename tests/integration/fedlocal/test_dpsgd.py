"""`fedloom run` of a job whose sites train by DP-SGD: each site says what it has told, and trains no more when that is enough."""

import copy
import csv
import io
import json
import re
from pathlib import Path

import pytest
import yaml

from fedtrainer.training.dpsgd.account import FILE
from tests.integration.fedlocal.runs import JOB, SITES, Lab, job

PAGE = Path(__file__).parents[3] / "docs" / "dp-sgd.md"
EXAMPLE = yaml.safe_load(
    re.search(r"<!-- run by .*test_dpsgd.py -->\n```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
)


def kept(site):
    return site | {"spec": site["spec"] | {"state": {"persistentVolumeClaim": {"claimName": site["metadata"]["name"]}}}}


@pytest.fixture
def lab(tmp_path, request):
    spec = copy.deepcopy(EXAMPLE["spec"])
    spec["privacy"]["dpSGD"] |= request.param
    lab = Lab.of(tmp_path / "lab", job(**spec), *map(kept, SITES))
    yield lab
    lab.close()


def status(lab):
    return json.loads((lab.state / "aggregator-status.json").read_text())


@pytest.mark.parametrize("lab", [{}], indirect=True)
def test_the_rounds_of_a_job_meet_the_target(lab):
    code, output = lab.run()
    assert code == 0, output
    assert lab.result()["rounds"] == 3
    told = status(lab)
    assert lab.result()["privacy"] == {"record": {"epsilon": float(told["recordPrivacy"]["epsilon"]), "delta": 0.001}}
    assert (
        f"privacy: epsilon {told['recordPrivacy']['epsilon']} of targetEpsilon 3 (of one record, delta 0.001)" in output
    )
    assert told["recordPrivacy"]["unit"] == "Record"
    assert 2.7 < float(told["recordPrivacy"]["epsilon"]) <= 3.0
    assert {key: told["recordPrivacy"][key] for key in ("delta", "targetEpsilon")} == {
        "delta": "0.001",
        "targetEpsilon": "3",
    }
    assert {each["name"]: each["recordEpsilon"] for each in told["clients"]} == dict.fromkeys(
        ("north", "south"), told["recordPrivacy"]["epsilon"]
    )
    rows = lab.fedloom("history", JOB, "-o", "csv").stdout
    epsilons = [row["record_epsilon"] for row in csv.DictReader(io.StringIO(rows))]
    assert epsilons[0] == ""
    assert sorted(map(float, epsilons[1:])) == [*map(float, epsilons[1:])]
    card = lab.fedloom("model", "card", JOB).stdout
    assert "record\\_privacy.epsilon" in card
    assert "Record" in card
    assert len(list((lab.folder / "state").rglob(FILE))) == 2


@pytest.mark.parametrize("lab", [{"noiseMultiplier": "1.0", "targetEpsilon": "4"}], indirect=True)
def test_sites_that_have_told_enough_end_the_job_with_the_reason(lab):
    code, output = lab.run()
    told = status(lab)
    assert code == 0, output
    assert (told["outcome"]["result"], told["outcome"]["reason"]) == ("Succeeded", "PrivacyBudgetSpent")
    assert "2 of 2 sites have spent privacy.dpSGD.targetEpsilon 4 (north, south)" in told["outcome"]["message"]
    assert told["round"]["committed"] == 2
    assert float(told["recordPrivacy"]["epsilon"]) <= 4.0
    for each in told["clients"]:
        assert each["state"] == "BudgetSpent"
        assert "PrivacyBudgetSpent" in each["message"]
        assert "of one record, delta 0.001" in each["message"]
    assert "no more rounds: PrivacyBudgetSpent: 2 of 2 sites have spent privacy.dpSGD.targetEpsilon 4" in output
    assert "site north: BudgetSpent: PrivacyBudgetSpent: this site's updates have spent epsilon" in output


def test_a_strategy_without_steps_is_refused_before_anything_runs(tmp_path):
    spec = {"privacy": EXAMPLE["spec"]["privacy"], "strategy": {"name": "FedSGD"}}
    lab = Lab.of(tmp_path / "lab", job(**spec), *SITES)
    try:
        code, output = lab.run()
    finally:
        lab.close()
    assert code != 0
    assert "privacy.dpSGD makes steps with noise, and FedSGD makes none" in output
