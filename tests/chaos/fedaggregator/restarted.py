"""An aggregator that dies at a named call and the one after it, under the same sites. Used by the tests of what survives."""

from collections.abc import Sequence
from pathlib import Path

from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).with_name("die_at.py"))


def run_killed(job: JobFolder, sites: Sequence[Site], call: Sequence[str]) -> None:
    """The whole job; `call` as die_at.py takes it."""
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
