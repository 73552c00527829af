"""The worked example of docs/privacy.md, computed anew."""

import math
import re
from pathlib import Path

import pytest
import yaml

from fedapi.crd.federatedjob import FederatedJobSpec
from fedcore.privacy.distributed import concentrated
from fedcore.privacy.gaussian import mu_of

PAGE = Path(__file__).parents[4] / "docs" / "privacy.md"
ROWS = [
    tuple(map(float, row))
    for row in re.findall(
        r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$",
        PAGE.read_text().partition("## Mode Distributed")[0],
        re.MULTILINE,
    )
]


def test_there_is_an_example():
    assert len(ROWS) == 5


@pytest.mark.parametrize(("rounds", "epsilon", "multiplier", "noise"), ROWS)
def test_it_is_right(rounds, epsilon, multiplier, noise):
    assert multiplier == pytest.approx(math.sqrt(rounds) / mu_of(epsilon, 1e-5), abs=1e-4)
    assert noise == pytest.approx(multiplier / 10, abs=1e-5)


BY_SITES = [
    tuple(map(float, row))
    for row in re.findall(
        r"^\| (\d+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$",
        PAGE.read_text().partition("## Mode Distributed")[2],
        re.MULTILINE,
    )
]


@pytest.mark.parametrize(("rounds", "epsilon", "by_sites", "central"), BY_SITES)
def test_what_sites_add_is_right(rounds, epsilon, by_sites, central):
    assert by_sites == pytest.approx(math.sqrt(rounds / (2 * concentrated.rho_for(epsilon, 1e-5))), abs=1e-4)
    assert central == pytest.approx(math.sqrt(rounds) / mu_of(epsilon, 1e-5), abs=1e-4)


@pytest.mark.parametrize("page", ["privacy.md", "secure-aggregation.md"])
def test_its_manifests_are_specs(page):
    blocks = re.findall(r"```yaml\n(spec:.*?)```", PAGE.with_name(page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        FederatedJobSpec.model_validate(
            {"task": {"entrypoint": "a.b:c", "image": "i"}} | yaml.safe_load(block.partition("---")[0])["spec"]
        )
