"""An update was accepted, and its attempt came to nothing: its site is told, so that its account of what it has told can be held against it."""

from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until


def test_a_site_is_told_of_it_until_a_commit_has_one_of_its_own(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, quorum=2))
    a, b = Site(job, "a"), Site(job, "b")
    with Aggregator(job).ready():
        assert [site.next(0.0).accepted for site in (a, b)] == [None, None]
        a.take_part(a.next().train)
        assert a.next(0.0).accepted == (1, 1)
        b.fail(b.next().train)
        told = a.next()
        assert (told.train.attempt, told.committed, told.accepted) == (2, None, (1, 1))
    with Aggregator(job).ready():
        told = a.next()
        assert (told.train.attempt, told.accepted) == (2, (1, 1))
        assert b.next().accepted is None
        for site in (a, b):
            site.take_part(site.next().train)
        told = until(lambda: answer if (answer := a.next(0.0)).committed else None)
        assert (told.committed, told.accepted) == ((1, 2), None)
        for thread in [site.start() for site in (a, b)]:
            thread.join(PATIENCE_S)
