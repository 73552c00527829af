"""`fedloom run` of a job with a privacy budget: it says what was spent, and it ends where the budget does."""

import csv
import io
import json

import pytest

from tests.integration.fedlocal.runs import JOB, SITES, Lab, job

PRIVATE = {"mode": "Central", "clipNorm": "5", "noiseMultiplier": "1.0", "targetEpsilon": "7", "delta": "0.00001"}


@pytest.fixture
def lab(tmp_path):
    lab = Lab.of(tmp_path / "lab", job(rounds=9, privacy={"differentialPrivacy": PRIVATE}), *SITES)
    yield lab
    lab.close()


def test_rounds_are_charged_for_until_the_budget_is_spent(lab):
    code, output = lab.run()
    assert code == 0, output
    assert lab.result()["rounds"] == 2
    status = json.loads((lab.state / "aggregator-status.json").read_text())
    assert status["outcome"]["reason"] == "PrivacyBudgetSpent"
    assert status["privacy"]["epsilon"] == "6.5730"
    told = lab.fedloom("history", JOB, "-o", "csv").stdout
    epsilons = [row["epsilon"] for row in csv.DictReader(io.StringIO(told))]
    assert epsilons[0] == ""
    assert [float(epsilon) for epsilon in epsilons[1:]] == pytest.approx([4.3771781, 6.5729701], abs=1e-5)


def test_a_strategy_that_chooses_is_refused_before_anything_runs(tmp_path):
    spec = {"privacy": {"differentialPrivacy": PRIVATE}, "strategy": {"name": "Median"}}
    lab = Lab.of(tmp_path / "lab", job(**spec), *SITES)
    try:
        code, output = lab.run()
    finally:
        lab.close()
    assert code != 0
    assert "goes with strategies that add up updates" in output


def test_a_clip_norm_that_is_far_too_large_comes_nearer(tmp_path):
    """After one round: both updates are within, so the norm is 5000 x exp(-2.5) = 410, times exp(0.15 z) for the noise of the count.

    A second round would begin from a model with noise of hundreds in each weight, whose updates may be of any size.
    """
    adaptive = PRIVATE | {
        "clipNorm": "5000",
        "noiseMultiplier": "0.1",
        "targetEpsilon": "1000",
        "adaptiveClipping": {"learningRate": "5", "countNoise": "0.06"},  # the default hides a count of so few sites
    }
    lab = Lab.of(tmp_path / "lab", job(rounds=1, privacy={"differentialPrivacy": adaptive}), *SITES)
    try:
        code, output = lab.run()
    finally:
        lab.close()
    assert code == 0, output
    told = json.loads((lab.state / "aggregator-status.json").read_text())["privacy"]
    assert 409 < float(told["clipNorm"]) < 1500  # 1500: 8 standard deviations
    assert float(told["epsilon"]) < 1000
