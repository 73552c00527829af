"""kill -9 of an aggregator around what a held-out site says: it is kept once, and models are those of the undisturbed run."""

from pathlib import Path

import pytest

from tests.integration.fedaggregator.harness import Aggregator, Site
from tests.integration.fedaggregator.test_held_out_sites import ROSTER, held_out_job, models, observations
from tests.waiting import PATIENCE_S, until

DIE_AT = str(Path(__file__).with_name("die_at.py"))
WRITE = "fedaggregator.engine.interpreter:Interpreter.write_site_evaluation"
POINTS = [
    ("before its record", WRITE, "before", 1),
    ("after its record, before the answer", WRITE, "after", 1),
    ("after the last model, before the end", "fedaggregator.engine.interpreter:Interpreter.finish", "before", 1),
]


def ran(folder, *dying) -> tuple[list[str], list[tuple]]:
    """The models and what x measured of the last. The others come once x was heard, and begins to evaluate the first."""
    job = held_out_job(folder, every=3)
    *others, observer = (Site(job, entry.name, samples=10 + 5 * i) for i, entry in enumerate(ROSTER))
    threads = {}

    def work(aggregator: Aggregator) -> None:
        until(lambda: _heard(job) or aggregator.process.poll() is not None)
        threads.update({site: site.start() for site in others if _heard(job) and site not in threads})

    with Aggregator(job, *dying) as first:
        threads[observer] = observer.start()
        work(first)
        if dying:
            assert first.wait() == 137, first.log()
        else:
            _joined(threads)
    if dying:
        (job.root / "status.json").unlink(missing_ok=True)
        with Aggregator(job).ready() as second:
            work(second)
            _joined(threads)
    said = [(r.round, r.client, r.model_sha256, r.metrics, r.samples) for r in observations(job)]
    return models(job), [each for each in said if each[0] == 3]


def _heard(job):
    return any((each["name"], each["state"]) == ("x", "HeldOut") for each in job.status().get("clients", ()))


def _joined(threads):
    for site, thread in threads.items():
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert site.error is None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = ran(tmp_path_factory.mktemp("undisturbed"))
    assert len(found[1]) == 1
    return found


@pytest.mark.parametrize("call", [[*map(str, p[1:])] for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, undisturbed, call):
    assert ran(tmp_path, DIE_AT, *call) == undisturbed
