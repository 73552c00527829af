"""kill -9 of an aggregator that goes back behind an anomaly: it goes back once, to the same model, as the undisturbed run does."""

import pytest

from fedapi.wire.anomalies import AnomalySettings, RollbackSettings
from tests.chaos.fedaggregator.restarted import run_killed
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.integration.fedaggregator.test_malicious_sites import SITES, in_model, times

INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
POINTS = {
    "after the round with the anomaly, before anybody is told": (f"{INTERPRETER}.move_head", "after", "4"),
    "when the older model was seen whole": ("fedaggregator.engine.earlier:sought", "after", "1"),
    "after the commit of the older model, before HEAD": (f"{INTERPRETER}.write_commit", "after", "5"),
    "after HEAD, before anybody is told": (f"{INTERPRETER}.move_head", "after", "5"),
}
TRAIN = times(lambda round_: 1000 if round_ == 3 else 1)


def made(folder):
    settings = AnomalySettings(action="RollBack", rollback=RollbackSettings(lookback_rounds=2))
    return JobFolder(folder, config(SITES, quorum="60%", rounds=4, anomalies=settings))


def facts(job):
    undone = [[(each.client, each.to, each.rounds) for each in commit.undoings] for commit in job.commits()]
    return [commit.model.sha256 for commit in job.commits()], undone, in_model(job)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    job = made(tmp_path_factory.mktemp("quiet"))
    with Aggregator(job).ready():
        run_sites(job, train=TRAIN)
    models, undone, sites = facts(job)
    assert undone == [[], [], [], [], [("evil", 1, (2, 3))], [], [], []]
    assert models[4] == models[1]
    assert sites == [SITES, SITES, SITES[:4], (), SITES[:4], SITES[:4], SITES[:4]]
    return facts(job)


@pytest.mark.parametrize("call", POINTS.values(), ids=POINTS)
def test_it_goes_back_once(tmp_path, quiet, call):
    job = made(tmp_path)
    run_killed(job, [Site(job, client, samples=10 + 5 * i, train=TRAIN) for i, client in enumerate(SITES)], call)
    assert facts(job) == quiet
    (told,) = job.status()["anomalies"]["rollbacks"]
    assert (told["result"], told["client"], told["to"], told["committed"]) == ("Done", "evil", 1, 4)
