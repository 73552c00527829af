"""kill -9 while a finished job's aggregator tells decisions on the release: each is told once, and the status names none before."""

import json

import pytest

from fedapi import names, released
from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey
from fedapi.wire.tokens import ledger_seed
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit
from fedstore.opening import open_store
from tests.chaos.fedaggregator.restarted import DIE_AT
from tests.integration.fedaggregator.harness import JOB_KEY, UID, Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until

LEDGER = "fedaggregator.engine.ledger:Ledger"
# The start writes `started` by one write and takes the ledger by a move of its own; then decisions are told.
POINTS = {
    "before the tiles": (f"{LEDGER}._put", "before", 2),
    "after the tiles, before their checkpoint": (f"{LEDGER}._put", "after", 2),
    "after the checkpoint, before the status": (f"{LEDGER}._move", "after", 3),
}


def finished(tmp_path):
    """A job that has ended, whose aggregator is gone."""
    job = JobFolder(tmp_path, config(rounds=1))
    with Aggregator(job).ready():
        threads = [Site(job, client).start() for client in "ab"]
        for thread in threads:
            thread.join(PATIENCE_S)
        until(lambda: "outcome" in job.status())
    return job


def decided(job, *decisions):
    """What the operator hands over, and what the status has to say of it."""
    key, model = SigningKey.generated(), job.status()["model"]["sha256"]
    made = [release.signed(key, UID, Approval("ann", said, model, "c" * 64, "")) for said in decisions]
    asked = {
        "approvers": [{"name": "ann", "publicKey": key.public_key}],
        "required": 1,
        "approvals": [released.in_spec(each).dump() for each in made],
    }
    (job.root / names.RELEASE_FILE).write_text(json.dumps(asked))
    return [{"approver": "ann", "decision": each.decision, "signature": each.signature} for each in made]


def told(job):
    verifier = Signer(job.layout.ledger_origin, ledger_seed(JOB_KEY)).verifier
    found = ledgeraudit.verified(open_store(str(job.root / "store")), job.layout, verifier)
    return [each.kind for each in found.entries if each.kind in ("approved", "rejected", "released")]


@pytest.mark.parametrize("point", POINTS)
def test_killed(tmp_path, point):
    job = finished(tmp_path)
    recorded = decided(job, "Approve")
    with Aggregator(job, DIE_AT, *map(str, POINTS[point])) as dying:
        assert dying.wait() == 137, dying.log()
    assert "release" not in job.status()
    with Aggregator(job).ready():
        until(lambda: job.status().get("release") == {"recorded": recorded})
    assert told(job) == ["approved", "released"]


def test_what_is_decided_while_it_runs_is_told_and_a_restart_tells_nothing_twice(tmp_path):
    job = finished(tmp_path)
    with Aggregator(job).ready():
        recorded = decided(job, "Reject")
        until(lambda: job.status().get("release") == {"recorded": recorded})
    with Aggregator(job).ready():
        until(lambda: job.status().get("release") == {"recorded": recorded})
    assert told(job) == ["rejected"]
    assert job.status()["outcome"]["result"] == "Succeeded"
