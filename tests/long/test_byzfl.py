"""Robust rules beside ByzFL's (byzfl 0.0.11, by authors of several of them), over updates with and without attackers.

It is installed here, without what it asks for besides (torchvision, and much for its own benchmark) but scipy: its aggregators
alone are loaded. What differs on purpose: its Krum looks at n - f - 1 neighbours and the paper at n - f - 2, which is its rule
for f + 1; its geometric median begins at zero, so both are run until they stand still.
"""

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tests.unit.fedcore.strategies.aggregated import Round, aggregated

pytestmark = pytest.mark.long
PACKAGES = ("byzfl==0.0.11", "scipy>=1.14")
COUNT, BYZANTINE, ITEMS = 15, 3, 2000


@pytest.fixture(scope="module")
def byzfl():
    """Its module of aggregators, with those that come before them."""
    cache = Path(os.environ.get("FEDLOOM_CACHE", Path.home() / ".cache" / "fedloom"))
    home = cache / "byzfl" / f"0.0.11-py{sys.version_info.major}{sys.version_info.minor}"
    if not (home / "complete").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--upgrade", "--target", str(home), *PACKAGES], check=True)
        (home / "complete").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(home))
        package = types.ModuleType("byzfl")  # its own __init__ loads its benchmark, and that torchvision
        package.__path__ = [str(home / "byzfl")]
        patch.setitem(sys.modules, "byzfl", package)
        yield importlib.import_module("byzfl.aggregators")


def updates(seed):
    """Honest ones about one direction, the last three as attackers have them."""
    rng = np.random.default_rng(seed)
    found = 0.2 * rng.normal(size=ITEMS) + rng.normal(size=(COUNT, ITEMS))
    attack = seed % 4
    if attack:
        mean, spread = found[:-BYZANTINE].mean(axis=0), found[:-BYZANTINE].std(axis=0)
        found[-BYZANTINE:] = {1: -5 * mean, 2: mean - 1.5 * spread, 3: 1e4 * rng.normal(size=ITEMS)}[attack]
    return found.astype(np.float32)


def near(found, theirs):
    return np.allclose(found, np.asarray(theirs), rtol=1e-4, atol=1e-4 * np.abs(theirs).max())


RULES = [
    ("Median", {}, lambda b: b.Median()),
    ("TrimmedMean", {"byzantine": BYZANTINE}, lambda b: b.TrMean(f=BYZANTINE)),
    ("Krum", {"byzantine": BYZANTINE}, lambda b: b.Krum(f=BYZANTINE + 1)),
    ("GeometricMedian", {"iterations": 100, "smoothing": 0.1}, lambda b: b.GeometricMedian(nu=0.1, T=300)),
]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("name", "numbers", "made"), RULES, ids=[name for name, *_ in RULES])
def test_rules(byzfl, name, numbers, made, seed):
    rows = updates(seed)
    assert near(aggregated(name, rows, **numbers), made(byzfl)(rows.astype(np.float64)))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("name", "numbers", "made"), RULES, ids=[name for name, *_ in RULES])
def test_rules_after_nearest_neighbour_mixing(byzfl, name, numbers, made, seed):
    rows = updates(seed)
    pre = {"name": "NearestNeighbourMixing", "byzantine": BYZANTINE}
    mixed = byzfl.NNM(f=BYZANTINE)(rows.astype(np.float64))
    assert near(aggregated(name, rows, pre=pre, **numbers), made(byzfl)(mixed))


@pytest.mark.parametrize("seed", range(12))
def test_multi_krum_is_the_mean_of_the_best_by_its_scores(byzfl, seed):
    """Its own takes scores of n - f - 1 neighbours: asked for f + 1 it takes the paper's, and one update less."""
    rows = updates(seed)
    theirs = byzfl.MultiKrum(f=BYZANTINE + 1)(rows.astype(np.float64))
    weights = [float(weight.parameters) for weight in Round("MultiKrum", rows, byzantine=BYZANTINE).weights]
    chosen = [index for index, weight in enumerate(weights) if weight]
    means = [rows[[i for i in chosen if i != left]].astype(np.float64).mean(axis=0) for left in chosen]
    assert len(chosen) == COUNT - BYZANTINE
    assert any(near(mean, theirs) for mean in means)
