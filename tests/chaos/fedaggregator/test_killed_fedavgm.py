"""kill -9 of an aggregator whose strategy remembers: model and memory are those of the undisturbed run."""

from pathlib import Path

import pytest

from fedapi.wire.job import StrategySettings
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).with_name("die_at.py"))
CLIENTS = ("a", "b")
STRATEGY = StrategySettings(name="FedAvgM", parameters={"momentum": 0.9, "learning_rate": 0.5})
POINTS = [
    ("in mid-fold", "fedcore.strategies.folding:folded", "after", 2),
    ("after the hub state, before the model", "fedstore.disk:DiskStore.link", "after", 2, "hubstate/"),
    ("after commit.json, before HEAD", "fedaggregator.engine.interpreter:Interpreter.write_commit", "after", 3),
]


def objects(job: JobFolder) -> list[tuple[str, str | None]]:
    return [(commit.model.sha256, commit.hub_state and commit.hub_state.sha256) for commit in job.commits()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS, strategy=STRATEGY))
    with Aggregator(job).ready():
        run_sites(job)
    found = objects(job)
    assert len({state for _, state in found}) == len(found)
    return found


@pytest.mark.parametrize("call", [[*map(str, p[1:])] for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, undisturbed, call):
    job = JobFolder(tmp_path, config(CLIENTS, strategy=STRATEGY))
    sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
    assert objects(job) == undisturbed
