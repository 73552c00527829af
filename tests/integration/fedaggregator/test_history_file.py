"""The history that the aggregator keeps beside HEAD, and the model card of the end: what the records say, on a volume and in a bucket."""

import json
from pathlib import Path

import pytest

from fedstore import cardpage, historyrows, modelcard
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.waiting import PATIENCE_S, until

DIE_AT = str(Path(__file__).parents[2] / "chaos" / "fedaggregator" / "die_at.py")


def lines(job: JobFolder) -> list[str]:
    found = job.store.head(job.layout.history)
    return found.data.decode().splitlines() if found else []


def check_card(job: JobFolder) -> None:
    card = modelcard.card(job.store, job.layout)
    assert job.store.head(job.layout.card).data.decode() == card.text()
    assert job.store.head(job.layout.card_page).data.decode() == cardpage.page(card)
    assert (card.result, card.rounds, [each.name for each in card.sites]) == ("Succeeded", 3, ["a", "b"])
    assert card.model_sha256 == job.commits()[-1].model.sha256


@pytest.mark.parametrize("where", ["volume", "bucket"])
def test_it_has_every_round_at_the_end(tmp_path, seaweedfs, where):
    job = job_in(seaweedfs, tmp_path) if where == "bucket" else JobFolder(tmp_path, config())
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    assert lines(job) == [row.line() for row in historyrows.rows(job.store, job.layout)]
    check_card(job)
    told = [json.loads(line) for line in lines(job)]
    assert [(row["round"], row["participants"]) for row in told] == [(0, []), *((n, ["a", "b"]) for n in (1, 2, 3))]
    assert [row["evaluation"]["sites"]["a"]["loss"] for row in told] == [1.0, 0.5, 1 / 3, 0.25]


@pytest.mark.parametrize("call", [("write", "before", "1"), ("_replaced", "before", "2"), ("_replaced", "after", "2")])
def test_a_process_that_dies_before_it_is_written_leaves_it_to_the_next(tmp_path, call):
    """Before the history, before the card, and between the card and its page."""
    job = JobFolder(tmp_path, config())
    call = (f"fedaggregator.engine.historyfile:HistoryFile.{call[0]}", *call[1:])
    sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(("a", "b"))]
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    assert lines(job) == [row.line() for row in historyrows.rows(job.store, job.layout)]
    assert len(lines(job)) == 4
    check_card(job)
