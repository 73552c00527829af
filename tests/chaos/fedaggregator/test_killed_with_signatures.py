"""kill -9 of an aggregator whose sites sign: the signatures are in the commits all the same, of each update, and each holds."""

from pathlib import Path

import pytest

from fedapi.wire import statement
from fedapi.wire.signing import verifies
from fedapi.wire.strategy import StrategySettings
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, until
from tests.integration.fedaggregator.signing import SigningSite, key, public
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).with_name("die_at.py"))
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
CLIENTS = ("a", "b", "c")
KEYS = {client: key(number) for number, client in enumerate(CLIENTS, 1)}
IDENTITIES = {client: (public(own),) for client, own in KEYS.items()}
POINTS = [
    (),
    (f"{INTERPRETER}.write_manifest", "after", "5"),
    ("fedcore.strategies.folding:folded", "after", "3"),
    (f"{INTERPRETER}.write_commit", "after", "3"),
    (f"{INTERPRETER}.move_head", "after", "3"),
]
FEDBUFF = {
    "strategy": StrategySettings(
        name="FedBuff", parameters={"buffer_size": 2.0, "learning_rate": 1.0, "staleness_exponent": 0.5}
    )
}


def proven(job: JobFolder) -> list[list[str]]:
    """Of each committed round the sites, all of whose signatures hold by the commit alone."""
    for commit in job.commits():
        for each in commit.participants:
            assert each.signed is not None
            text = statement.of_participant(commit, each, each.signed)
            assert verifies(KEYS[each.client].raw, each.signed.signature, text)
    return [[each.client for each in commit.participants] for commit in job.commits()]


@pytest.mark.parametrize("values", [{}, FEDBUFF], ids=["FedAvg", "FedBuff"])
@pytest.mark.parametrize(
    "point", POINTS, ids=[point[0].partition(".")[2] + "".join(point[1:]) if point else "nowhere" for point in POINTS]
)
def test_every_committed_update_has_the_signature_of_its_site(tmp_path, values, point):
    job = JobFolder(tmp_path, config(CLIENTS, identities=IDENTITIES, **values))
    sites = [SigningSite(job, client, own, samples=10 + 5 * n) for n, (client, own) in enumerate(KEYS.items())]
    threads = []
    if point:
        with Aggregator(job, DIE_AT, *point) as dying:
            threads = [site.start() for site in sites]
            assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        threads = threads or [site.start() for site in sites]
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
        until(lambda: "outcome" in job.status())
    rounds = proven(job)
    assert len(rounds) == 4
    assert all(len(each) == 3 or (values and len(each) == 2) for each in rounds[1:])
