"""A job of no rounds, by the real process: its sites evaluate the first model, over a kill -9, and nobody trains."""

import signal
from pathlib import Path

import pytest

from fedstore import historyrows
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until

AHEAD = str(Path(__file__).with_name("ahead.py"))


def test_what_was_measured_before_a_kill_counts_after_it(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=0))
    a, b = (Site(job, client, samples=samples) for client, samples in (("a", 10), ("b", 30)))
    with Aggregator(job).ready() as first:
        b.next(0.0)
        assert a.step() == "Evaluate"
        assert a.next(0.0).kind == "Wait"
        first.process.send_signal(signal.SIGKILL)
        first.wait()
    with Aggregator(job).ready():
        b.next(0.0)
        assert a.next(0.0).kind == "Wait"
        threads = [site.start() for site in (a, b)]
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        until(lambda: "outcome" in job.status())
    assert (a.trained, b.trained) == ([], [])
    outcome = job.status()["outcome"]
    assert (outcome["result"], outcome["reason"]) == ("Succeeded", "Evaluated")
    (row,) = historyrows.rows(job.store, job.layout)
    measured = {"accuracy": 0.5, "loss": 1.0}
    assert (row.round, row.participants, row.evaluation.samples) == (0, (), 40)
    assert row.evaluation.sites == {"a": measured, "b": measured}
    assert row.evaluation.metrics == measured


@pytest.mark.parametrize(("quorum", "result"), [("100%", "Failed"), (1, "Succeeded")])
def test_a_site_that_never_comes_is_told_by_the_quorum(tmp_path, quorum, result):
    settings = config(("a", "b"), rounds=0, min_available=1, quorum=quorum)
    job = JobFolder(tmp_path, settings, extra_env={"AHEAD": str(tmp_path / "ahead")})
    with Aggregator(job, AHEAD).ready():
        assert Site(job, "a").step() == "Evaluate"
        (tmp_path / "ahead").touch()
        until(lambda: "outcome" in job.status())
    outcome = job.status()["outcome"]
    assert outcome["result"] == result
    assert "1 of 2 sites have evaluated the model" in outcome["message"]
    assert historyrows.rows(job.store, job.layout)[0].evaluation.sites.keys() == {"a"}
