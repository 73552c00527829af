"""The tables of the pages on privacy, computed anew; their manifests are valid."""

import math
import re
from itertools import accumulate
from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJobSpec
from fedcore.privacy.distributed import concentrated
from fedcore.privacy.factorization import noising, sensitivity_squared
from fedcore.privacy.gaussian import mu_of

DOCS = Path(__file__).parents[4] / "docs"
PAGES = (
    "privacy.md",
    "noise-of-sites.md",
    "matrix-factorization.md",
    "secure-aggregation.md",
    "homomorphic-encryption.md",
)
ROWS = [
    tuple(map(float, row))
    for row in re.findall(
        r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        (DOCS / "privacy.md").read_text(),
        re.MULTILINE,
    )
]
MATRICES = [
    (*map(int, row[:3]), *map(float, row[3:]))
    for row in re.findall(
        r"^\| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        (DOCS / "matrix-factorization.md").read_text(),
        re.MULTILINE,
    )
]


def test_there_are_tables():
    assert (len(ROWS), len(MATRICES)) == (5, 5)


@pytest.mark.parametrize(("rounds", "apart", "bands", "multiplier", "noise", "independent", "as_rare"), MATRICES)
def test_what_a_matrix_saves_is_right(rounds, apart, bands, multiplier, noise, independent, as_rare):
    mu = mu_of(8, 1e-5)
    assert multiplier == pytest.approx(math.sqrt(sensitivity_squared(bands, apart, rounds)) / mu, abs=1e-4)
    left = list(accumulate([*noising(bands), *[0.0] * (rounds - bands)]))  # of each round's noise, newest first
    assert noise == pytest.approx(multiplier * math.sqrt(sum(share**2 for share in left)), abs=0.01)
    assert independent == pytest.approx(math.sqrt(rounds) / mu * math.sqrt(rounds), abs=0.01)
    assert as_rare == pytest.approx(math.sqrt(math.ceil(rounds / apart)) / mu * math.sqrt(rounds), abs=0.01)


@pytest.mark.parametrize(("rounds", "epsilon", "multiplier", "noise"), ROWS)
def test_it_is_right(rounds, epsilon, multiplier, noise):
    assert multiplier == pytest.approx(math.sqrt(rounds) / mu_of(epsilon, 1e-5), abs=1e-4)
    assert noise == pytest.approx(multiplier / 10, abs=1e-5)


BY_SITES = [
    tuple(map(float, row))
    for row in re.findall(
        r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$",
        (DOCS / "noise-of-sites.md").read_text(),
        re.MULTILINE,
    )
]


@pytest.mark.parametrize(("rounds", "epsilon", "by_sites", "central"), BY_SITES)
def test_what_sites_add_is_right(rounds, epsilon, by_sites, central):
    assert by_sites == pytest.approx(math.sqrt(rounds / (2 * concentrated.rho_for(epsilon, 1e-5))), abs=1e-4)
    assert central == pytest.approx(math.sqrt(rounds) / mu_of(epsilon, 1e-5), abs=1e-4)


@pytest.mark.parametrize("page", PAGES)
def test_its_manifests_are_specs(page):
    blocks = re.findall(r"```yaml\n(spec:.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        FederatedJobSpec.model_validate(
            {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 1}
            | yaml.safe_load(block.partition("---")[0])["spec"]
        )
