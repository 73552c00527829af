"""A committed round is evaluated because the job's configuration asks for it, by the real process, over a kill -9."""

import signal

from fedapi.wire.job import EvaluationRequest, EvaluationSettings
from fedstore import historyrows
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, monitored
from tests.integration.fedaggregator.test_held_out_sites import ROSTER, models, observations
from tests.waiting import PATIENCE_S, until

ASKED = EvaluationSettings(every_rounds=100, request=EvaluationRequest(round=1, id="once", clients=("a", "x")))


def told(job: JobFolder) -> tuple:
    found = job.status().get("evaluation", {})
    return found.get("id"), found.get("state"), found.get("sites")


def test_sites_evaluate_an_earlier_round_and_none_is_asked_twice(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), roster=ROSTER, evaluation=EvaluationSettings(every_rounds=100)))
    a, b, x = (Site(job, entry.name) for entry in ROSTER)
    with Aggregator(job).ready() as first:
        b.next(0.0)
        for _ in range(2):  # rounds 1 and 2, which both deliver
            assert (a.step(), b.step()) == ("Train", "Train")
        job.write_config(job.config.model_copy(update={"evaluation": ASKED}))
        until(lambda: told(job) == ("once", "Running", "0/2"))
        order = x.next().evaluate
        assert (order.round, order.model.sha256) == (1, models(job)[1])
        x.evaluate(order.round, order.model)
        until(lambda: told(job) == ("once", "Running", "1/2"))
        first.process.send_signal(signal.SIGKILL)
        first.wait()
    with Aggregator(job).ready():
        until(lambda: told(job) == ("once", "Running", "1/2"))
        assert x.next(0.0).kind == "Wait"
        assert (a.step(), a.step()) == ("Train", "Evaluate")  # when it has nothing else to do
        until(lambda: told(job) == ("once", "Done", "2/2"))
        threads = [site.start() for site in (a, b, x)]
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        until(lambda: "outcome" in job.status())
    (job.root / "status.json").unlink()
    with Aggregator(job).ready():  # of the job that is over: what was answered is not refused now
        until(lambda: told(job) == ("once", "Done", "2/2"))
    assert [site.error for site in (a, b, x)] == [None] * 3
    assert [(r.client, r.held_out) for r in observations(job) if r.round == 1] == [("a", False), ("x", True)]
    row = historyrows.rows(job.store, job.layout)[1]
    measured = {"accuracy": 0.6, "loss": 0.5}
    assert (row.held_out.sites, row.requested.sites) == ({"x": measured}, {"a": measured})
    assert row.evaluation.sites.keys() == {"a", "b"}, "what stop and bestRound read is what it was"


def test_a_report_in_its_turn_that_is_an_answer_too_is_counted_once(tmp_path):
    job = JobFolder(tmp_path, config(evaluation=EvaluationSettings(every_rounds=100)))
    a, b = (Site(job, client) for client in "ab")
    with Aggregator(job).ready():
        b.next(0.0)
        assert (a.step(), b.step()) == ("Train", "Train")  # each evaluates round 0
        request = EvaluationRequest(round=1, id="once", clients=("a",))
        evaluation = EvaluationSettings(every_rounds=100, request=request)
        job.write_config(job.config.model_copy(update={"evaluation": evaluation}))
        until(lambda: told(job) == ("once", "Running", "0/1"))
        assert a.step() == "Train"  # of round 2, and evaluates round 1
        until(lambda: told(job) == ("once", "Done", "1/1"))
        assert "fedloom_aggregator_evaluations_accepted_total 3.0" in monitored(job, "/metrics").text
