"""Sites that are held out of training, against the real process: their records, a slow one, and that no bit depends on them."""

import pytest

from fedapi.wire.job import EvaluationSettings
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import EvaluationRecord
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.waiting import PATIENCE_S, until

ROSTER = (RosterEntry(name="a"), RosterEntry(name="b"), RosterEntry(name="x", held_out=True))


def held_out_job(folder, every=1, **values) -> JobFolder:
    evaluation = EvaluationSettings(every_rounds=every)
    return JobFolder(folder, config(("a", "b"), roster=ROSTER, evaluation=evaluation, **values))


def records(job: JobFolder, name: str) -> list[bytes]:
    return [job.store.get(key) for key in job.store.keys(f"{job.layout.rounds()}/") if key.endswith(f"/{name}")]


def observations(job: JobFolder) -> list[SiteEvaluationRecord]:
    return [SiteEvaluationRecord.stored(data) for data in records(job, "site-evaluation.json")]


def models(job: JobFolder) -> list[str]:
    return [commit.model.sha256 for commit in job.commits()]


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """The models of the same job without a held-out site."""
    job = JobFolder(tmp_path_factory.mktemp("without"), config(("a", "b")))
    with Aggregator(job).ready():
        run_sites(job)
    return models(job)


def test_a_held_out_site_evaluates_every_model_and_changes_none(tmp_path, without):
    job = held_out_job(tmp_path)
    with Aggregator(job).ready():
        sites = [Site(job, entry.name, samples=10 + 5 * i) for i, entry in enumerate(ROSTER)]
        observer = sites[2]
        assert observer.step() == "Evaluate"  # before the others come: the initial model
        threads = [site.start() for site in sites]
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        until(lambda: "outcome" in job.status())
    assert all(site.error is None for site in sites)
    assert models(job) == without
    assert (observer.trained, job.commits()[-1].round) == ([], 3)
    found = {record.round: record for record in observations(job)}
    assert {0, 3} <= found.keys(), "the first, which it had the time for, and the last, which is waited for"
    last = found[3]
    assert (last.client, last.held_out, last.samples, last.model_sha256) == ("x", True, 20, without[3])
    assert all("x" not in EvaluationRecord.stored(data).clients for data in records(job, "evaluation.json"))
    status = job.status()
    assert (status["heldOut"]["round"], status["heldOut"]["sites"]) == (3, "1/1")
    assert status["heldOut"]["metrics"][0] == {"name": "accuracy", "value": "0.8", "round": 3}
    assert (status["participants"], status["outcome"]["result"]) == ("2/2", "Succeeded")
    assert job.commits()[-1].total_samples == 25


def test_one_that_is_slow_holds_nothing_up_and_its_late_word_is_kept(tmp_path, without):
    job = held_out_job(tmp_path, every=3)
    with Aggregator(job).ready():
        observer = Site(job, "x")
        order = observer.next().evaluate
        assert order.round == 0
        others = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate("ab")]
        threads = [site.start() for site in others]
        until(lambda: job.status().get("round", {}).get("committed") == 3)
        observer.evaluate(order.round, order.model)
        assert observer.step() == "Evaluate"  # of the last model, for which the last step waits
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        again = EvaluationReport(
            job_uid=job.config.uid, round=0, client="x", model_sha256=order.model.sha256, samples=1, metrics={"loss": 9.0},
        )  # fmt: skip
        answer = observer.post("evaluations", again)
        assert (answer.status_code, answer.json()["duplicate"]) == (200, True), "the first counts"
        wrong = observer.post("evaluations", again.model_copy(update={"model_sha256": "0" * 64}))
        assert (wrong.status_code, wrong.json()["code"]) == (409, "WrongBase")
        infinite = {**again.model_dump(mode="json"), "metrics": {"loss": 1e300}}
        assert observer.http.post("/v1/sites/x/evaluations", json=infinite).json()["code"] == "Malformed"
    assert models(job) == without
    assert [(record.round, record.metrics["loss"]) for record in observations(job)] == [(0, 1.0), (3, 0.25)]
    told = {record.round: record for record in map(EvaluationRecord.stored, records(job, "evaluation.json"))}
    assert [told[round_].held_out_missing for round_ in range(4)] == [("x",), (), (), ()]


def test_a_held_out_site_gets_no_grant_and_its_update_counts_nowhere(tmp_path):
    job = held_out_job(tmp_path)
    with Aggregator(job).ready():
        Site(job, "b").next(0.0)
        order = Site(job, "a").next().train
        observer = Site(job, "x")
        answer = observer.post("updates", observer.manifest(order, order.inline.object("1" * 64, 10)))
        assert (answer.status_code, answer.json()["code"]) == (409, "NotSelected")
