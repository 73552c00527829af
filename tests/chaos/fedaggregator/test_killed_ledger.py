"""kill -9 at each write of the ledger and of the commit: it goes on without a fork, an entry twice, or a round that it does not tell."""

from collections import Counter

import pytest

from fedapi.wire.tokens import ledger_seed
from fedcore.ledger import note, tiles
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit, ledgers
from fedstore.opening import open_store
from tests.chaos.fedaggregator.restarted import DIE_AT
from tests.integration.fedaggregator.harness import JOB_KEY, Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until

LEDGER = "fedaggregator.engine.ledger:Ledger"
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
ONCE = ("planned", "accepted", "committed", "attemptFailed", "ended")
POINTS = [
    ("before the first tiles", f"{LEDGER}._put", "before", 1),
    ("after the first tiles, before a checkpoint", f"{LEDGER}._put", "after", 1),
    ("after the ledger is taken", f"{LEDGER}._move", "after", 1),
    ("after the first checkpoint", f"{LEDGER}._move", "after", 2),
    ("before a round's tiles", f"{LEDGER}._put", "before", 4),
    ("between a bundle and its tile", "fedstore.disk:DiskStore.name", "after", 3, "tile/entries"),
    ("after a round's tiles, before their checkpoint", f"{LEDGER}._put", "after", 4),
    ("after a round's checkpoint", f"{LEDGER}._move", "after", 5),
    ("while what was replaced is deleted", "fedstore.disk:DiskStore.delete", "after", 1, "ledger/"),
    ("after commit.json, before HEAD", f"{INTERPRETER}.write_commit", "after", 3),
    ("after HEAD, before its entry", f"{INTERPRETER}.move_head", "after", 3),
    ("after HEAD says finished, before its entry", f"{INTERPRETER}.finish", "after", 1),
]


@pytest.mark.parametrize(("point", "call"), [(p[0], [*map(str, p[1:])]) for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, point, call):
    job = JobFolder(tmp_path, config())
    verifier = Signer(job.layout.ledger_origin, ledger_seed(JOB_KEY)).verifier
    sites = [Site(job, client) for client in "ab"]
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    store = open_store(str(tmp_path / "store"))
    then = store.head(job.layout.ledger(tiles.CHECKPOINT))
    with Aggregator(job).ready():
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
        until(lambda: "outcome" in job.status())
    found = ledgeraudit.verified(store, job.layout, verifier)
    assert found.commits == 4, point
    told = Counter(
        (each.kind, each.facts.get("round"), each.facts.get("attempt"), each.facts.get("client"))
        for each in found.entries
        if each.kind in ONCE
    )
    assert set(told.values()) == {1}, [what for what, times in told.items() if times > 1]
    assert {what[1] for what in told if what[0] == "committed"} == {0, 1, 2, 3}
    assert sum(what[0] == "accepted" for what in told) == 6
    assert sum(what[0] == "ended" for what in told) == 1
    if then is not None:  # what was signed before the kill is where it was
        old = note.opened(then.data, verifier)
        node = ledgers.nodes(store, job.layout, found.checkpoint.size)
        assert ledgers.merkle.root(node, old.size) == old.root
