"""A ledger that lost a file ends the job, until a repair has it begun anew: that is told, signed, and found by who verifies."""

import shutil

import pytest

from fedaggregator.engine.salvage import repaired
from fedapi.outcome import Exit
from fedapi.wire.store import Head
from fedapi.wire.tokens import ledger_seed
from fedcore.ledger import tiles
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import JOB_KEY, Aggregator, JobFolder, close_clients, config, run_sites
from tests.waiting import until


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A job that has done two of its four rounds, its aggregator gone."""
    job = JobFolder(tmp_path_factory.mktemp("half"), config(rounds=2))
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    close_clients()
    return job


@pytest.fixture
def job(half, tmp_path):
    """A copy of it with a job of four rounds, which goes on from HEAD as it is."""
    made = JobFolder(tmp_path, config(rounds=4))
    shutil.copytree(half.root / "store", made.root / "store", dirs_exist_ok=True)
    shutil.copy(half.root / "status.json", made.root / "status.json")
    store = open_store(str(made.root / "store"))
    before = store.head(made.layout.head)
    going_on = Head.stored(before.data).model_copy(
        update={"finished": None, "finished_at": None, "reason": "", "message": ""}
    )
    store.replace_head(made.layout.head, going_on.sealed().canonical(), before.tag)
    return made


def public_key(job):
    return job.status()["ledger"]["publicKey"]


def lost(job, path):
    (job.root / "store" / job.layout.ledger(path)).unlink()


def flipped(job, path):
    file = job.root / "store" / job.layout.ledger(path)
    data = bytearray(file.read_bytes())
    data[-8] = ord("B") if data[-8] != ord("B") else ord("C")  # of the checkpoint: in its signature
    file.write_bytes(bytes(data))


def bundle(job):
    return tiles.tile(job.status()["ledger"]["size"], None, 0).path


FAULTS = {
    "its checkpoint is lost": (lambda job: lost(job, tiles.CHECKPOINT), "checkpoint is missing"),
    "its signature is damaged": (lambda job: flipped(job, tiles.CHECKPOINT), "no good signature"),
    "a bundle is lost": (lambda job: lost(job, bundle(job)), "entry 0 is broken"),
    "an entry is damaged": (lambda job: flipped(job, bundle(job)), "is broken"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_repair_has_it_begun_anew_and_whoever_verifies_is_told(job, fault):
    store, old = open_store(str(job.root / "store")), job.status()["ledger"]
    assert list(repaired(store, job.layout, public_key(job))) == ["the store is whole: nothing was changed"]
    damage, why = FAULTS[fault]
    damage(job)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
    said = list(repaired(store, job.layout, public_key(job)))
    assert why in said[0]
    assert f"a ledger of its own, {job.layout.ledger_origin}/2" in said[1]
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: job.status().get("outcome"))
    close_clients()
    signer = Signer(f"{job.layout.ledger_origin}/2", ledger_seed(JOB_KEY))
    assert public_key(job) == str(signer.verifier)
    assert job.status()["ledger"]["restarts"] == 1
    found = ledgeraudit.verified(store, job.layout, signer.verifier)
    assert (found.commits, found.first_round) == (2, 3), "rounds 0 to 2 are bound to the one before"
    told = found.restarted.facts
    assert (told["number"], told["origin"], told["round"]) == (1, job.layout.ledger_origin, 2)
    assert why in told["reason"]
    if "checkpoint is missing" not in why:
        assert (told["size"], told["root"]) == (old["size"], old["root"])
    aside = {key.rpartition("/")[2] for key in store.keys(job.layout.ledger("broken/000001/"))}
    assert "restart.json" in aside
    assert list(repaired(store, job.layout, public_key(job))) == ["the store is whole: nothing was changed"]


def test_it_is_no_way_around_the_signature_of_a_commit(job):
    """Who can write the store can leave the record of a repair there, too."""
    store = open_store(str(job.root / "store"))
    lost(job, tiles.CHECKPOINT)
    before = store.head(job.layout.head)
    head = Head.stored(before.data).model_copy(update={"commit_signature": None})
    store.replace_head(job.layout.head, head.sealed().canonical(), before.tag)
    assert "the ledger is broken" in next(iter(repaired(store, job.layout)))
    list(repaired(store, job.layout))
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
        assert "and it is not signed" in aggregator.log()


def test_a_store_from_before_the_repair_is_not_believed_after_it(job):
    backup = shutil.copytree(job.root / "store", job.root / "before")
    lost(job, tiles.CHECKPOINT)
    list(repaired(open_store(str(job.root / "store")), job.layout))
    with Aggregator(job).ready():
        until(lambda: public_key(job).startswith(f"{job.layout.ledger_origin}/2+"))
    shutil.rmtree(job.root / "store")
    shutil.copytree(backup, job.root / "store")
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
        assert "an older state of the store was put back" in aggregator.log()
