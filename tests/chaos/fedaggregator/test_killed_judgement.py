"""kill -9 of an aggregator that judges updates: the same are left out, and the models are those of the undisturbed run."""

import pytest

from fedapi.wire.anomalies import AnomalySettings
from tests.chaos.fedaggregator.restarted import run_killed
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.integration.fedaggregator.test_malicious_sites import SITES, in_model, times, told

INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
POINTS = {
    "after the judgement, before the fold": ("fedaggregator.engine.judging:judged", "after", "2"),
    "in mid-judgement": ("fedcore.anomalies.lengths:Lengths.add", "after", "7"),
    "after commit.json, before HEAD": (f"{INTERPRETER}.write_commit", "after", "3"),
    "after HEAD, before anybody is told": (f"{INTERPRETER}.move_head", "after", "3"),
}
TRAIN = times(lambda round_: 1000 if round_ == 2 else 1)


def made(folder):
    settings = AnomalySettings(action="Suspend")
    return JobFolder(folder, config(SITES, quorum="60%", rounds=4, anomalies=settings))


def facts(job):
    return [commit.model.sha256 for commit in job.commits()], told(job), in_model(job)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    job = made(tmp_path_factory.mktemp("quiet"))
    with Aggregator(job).ready():
        run_sites(job, train=TRAIN)
    assert told(job) == {2: {"evil": ["NormAboveOthers"]}}
    assert in_model(job) == [SITES, SITES[:4], SITES[:4], SITES[:4]]
    return facts(job)


@pytest.mark.parametrize("call", POINTS.values(), ids=POINTS)
def test_the_same_updates_are_left_out(tmp_path, quiet, call):
    job = made(tmp_path)
    run_killed(job, [Site(job, client, samples=10 + 5 * i, train=TRAIN) for i, client in enumerate(SITES)], call)
    assert facts(job) == quiet
    assert job.status()["anomalies"]["suspended"] == [{"name": "evil", "round": 2}]
