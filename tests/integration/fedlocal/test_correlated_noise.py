"""`fedloom run` with noise that is correlated over the rounds: who takes part, what is spent, and how much noise the model has."""

import itertools
import json
import math

import numpy as np
import pytest
from safetensors.numpy import load_file

from fedcore.privacy.factorization import noising, sensitivity_squared
from fedcore.privacy.gaussian import epsilon_of
from tests.integration.fedlocal.runs import JOB, Lab, job, site

NAMES = ("east", "north", "south", "west")
ROUNDS, APART, BANDS, NOISE, CLIP, PER_ROUND = 6, 2, 2, 1.5, 0.5, 2
PRIVATE = {
    "mode": "Central",
    "clipNorm": str(CLIP),
    "noiseMultiplier": str(NOISE),
    "delta": "0.00001",
    "matrixFactorization": {"minSeparation": APART},
}
SPEC = {
    "rounds": ROUNDS,
    "task": {"entrypoint": "lab:task", "image": "none", "args": {"width": 4000}},
    "clients": {"policy": "Random", "perRound": PER_ROUND},
    "privacy": {"differentialPrivacy": PRIVATE},
}


@pytest.fixture
def lab(tmp_path):
    lab = Lab.of(tmp_path / "lab", job(**SPEC), *map(site, NAMES))
    yield lab
    lab.close()


def model(lab, round_):
    target = lab.folder / f"{round_}.safetensors"
    lab.fedloom("model", "pull", JOB, "--round", round_, "-o", target)
    return np.concatenate([values.ravel() for _, values in sorted(load_file(target).items())]).astype(np.float64)


def test_the_last_model_has_less_noise_than_independent_noise_of_its_epsilon_would_leave(lab):
    code, output = lab.run()
    assert code == 0, output
    assert lab.result()["rounds"] == ROUNDS
    squares = sensitivity_squared(BANDS, APART, ROUNDS) / NOISE**2
    status = json.loads((lab.state / "aggregator-status.json").read_text())
    assert float(status["privacy"]["epsilon"]) == pytest.approx(epsilon_of(math.sqrt(squares), 1e-5), abs=1e-4)

    told = lab.fedloom("history", JOB, "-o", "json").stdout
    took_part = [set(row["participants"]) for row in json.loads(told)][1:]
    assert all(len(each) == PER_ROUND for each in took_part)
    assert not any(a & b for a, b in itertools.pairwise(took_part))

    change = model(lab, ROUNDS) - model(lab, 0)  # updates are clipped to next to nothing beside 24,000 numbers of noise
    scale = NOISE * CLIP / PER_ROUND
    shares = np.cumsum([*noising(BANDS), *[0.0] * ROUNDS][:ROUNDS])
    assert change.std() == pytest.approx(scale * math.sqrt(np.sum(shares**2)), rel=0.03)
    participations = math.ceil(ROUNDS / APART)
    independent = scale * math.sqrt(participations / sensitivity_squared(BANDS, APART, ROUNDS)) * math.sqrt(ROUNDS)
    assert change.std() < 0.85 * independent
