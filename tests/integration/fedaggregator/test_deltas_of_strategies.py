"""Strategies whose models come as deltas: where what sites send is the same, so are all models, with deltas and without."""

import numpy as np
import pytest

from fedapi.crd.strategy import Strategy
from fedapi.wire.compression import Encoding
from fedapi.wire.strategy import StrategySettings
from tests.integration.fedaggregator.following import Following
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites, scripted_update
from tests.integration.fedlocal.strategies import TABLE, fewest

ROBUST = ("median", "trimmed-mean", "krum", "multi-krum", "geometric-median", "bulyan", "fltrust", "norm-clipping")
NAMES = ("fedavg", "fedadam", "diloco", *ROBUST)
MODEL = {"w": np.linspace(-1, 1, 1600, dtype=np.float32).reshape(40, 40), "b": np.arange(3, dtype=np.float32)}


def settings(name):
    chosen = Strategy.model_validate(TABLE[name][0])
    return StrategySettings(name=chosen.entry, parameters=chosen.parameters(), root=chosen.root)


def sent(base, client, order):
    """Not of what came. All sites agree in a part, so that FLTrust finds somebody to trust."""
    return {name: value + 1 for name, value in scripted_update(base, client, order).items()}


def run(folder, name, **values):
    clients = [f"site-{number}" for number in range(max(2, fewest(name)))]
    job = JobFolder(folder, config(clients, strategy=settings(name), rounds=3, **values), model=MODEL)
    with Aggregator(job).ready():
        sites = run_sites(job, kind=Following if values else Site, train=sent)
    return [commit.model.sha256 for commit in job.commits()], sites


@pytest.mark.parametrize("name", NAMES)
def test_models_are_those_of_a_job_without_deltas(tmp_path, name):
    plain, _ = run(tmp_path / "plain", name)
    by_delta, sites = run(tmp_path / "by-delta", name, download=Encoding(codec="Int4"), download_delta=True)
    assert by_delta == plain
    assert len(set(plain)) == 4
    assert {(site.wholes, site.made) for site in sites} == {(1, 2)}
