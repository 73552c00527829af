"""The ledger of a job that the real aggregator ran: whole, bound to its commits, and every fault in it is named."""

import json
import shutil
from collections import Counter

import pytest

from fedaggregator.engine.salvage import repaired
from fedapi.outcome import Exit
from fedapi.wire.job import RollbackTo
from fedapi.wire.ledger import Anchor
from fedapi.wire.store import Head
from fedapi.wire.tokens import ledger_seed
from fedcore.ledger import entries, merkle, note, tiles
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit, ledgers
from fedstore.ledgers import LedgerBrokenError
from fedstore.memory import MemoryStore
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import JOB_KEY, Aggregator, JobFolder, close_clients, config, run_sites
from tests.waiting import until


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A job of three rounds that is over, its aggregator gone."""
    job = JobFolder(tmp_path_factory.mktemp("done"), config())
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    close_clients()
    return job


def verifier(job):
    return Signer(job.layout.ledger_origin, ledger_seed(JOB_KEY)).verifier


def objects(job):
    """The records of a job's store, to be changed at will."""
    store = open_store(str(job.root / "store"))
    wanted = ("control/", "ledger/")
    return {key: store.get(key) for prefix in wanted for key in store.keys(prefix)}


def verified(job, held, **values):
    store = MemoryStore()
    heads = (job.layout.head, job.layout.ledger(tiles.CHECKPOINT))
    for key, data in held.items():
        if key in heads:
            store.replace_head(key, data, None)
        elif key != job.layout.history:
            store.put_once(key, data)
    return ledgeraudit.verified(store, job.layout, values.pop("key", verifier(job)), **values)


def bundle_key(job):
    """Of the newest entries, which are all of them: bundles have 256."""
    return job.layout.ledger(tiles.tile(job.status()["ledger"]["size"], None, 0).path)


def test_what_happened_is_in_it(done):
    found = verified(done, objects(done))
    kinds = Counter(each.kind for each in found.entries)
    assert (kinds["started"], kinds["planned"], kinds["committed"], kinds["ended"]) == (1, 3, 4, 1)
    accepted = [(each.facts["client"], each.facts["round"]) for each in found.entries if each.kind == "accepted"]
    assert sorted(accepted) == [(client, round_) for client in "ab" for round_ in (1, 2, 3)]
    issued = [each.facts for each in found.entries if each.kind == "issued"]
    assert issued
    assert not any("://" in str(each) for each in issued), "a URL is told to nobody"
    assert found.commits == 4
    assert kinds["evaluated"] == 4, "of the initial model, and of each round's"


def test_the_status_says_how_far_it_is_and_by_whose_key(done):
    found, said = verified(done, objects(done)), done.status()["ledger"]
    assert said == {
        "size": len(found.entries),
        "root": found.checkpoint.root.hex(),
        "publicKey": str(verifier(done)),
    }


def test_the_commit_of_a_round_binds_it_and_it_has_the_root_of_the_updates(done):
    held = objects(done)
    told = {each.facts["round"]: each for each in verified(done, held).entries if each.kind == "committed"}
    for commit in done.commits():
        assert told[commit.round].facts["updates_root"] == ledgers.updates_root(commit.participants)
    last = done.commits()[-1]
    names = [json.dumps({"client": p.client, "payloads": p.payloads}, separators=(",", ":")) for p in last.participants]
    leaves = [merkle.leaf_hash(name.encode()) for name in names]
    assert told[last.round].facts["updates_root"] == merkle.root_of(leaves).hex()


def test_a_flipped_bit_in_any_file_is_named(done):
    held, size = objects(done), done.status()["ledger"]["size"]
    reached = [tiles.CHECKPOINT, *(each.path for each in ledgers.all_tiles(size))]
    for key in map(done.layout.ledger, reached):
        for at in (0, len(held[key]) // 2, len(held[key]) - 1):
            data = bytearray(held[key])
            data[at] ^= 1
            with pytest.raises(LedgerBrokenError) as caught:
                verified(done, {**held, key: bytes(data)})
            if "/entries/" in key:
                assert f"entry {caught.value.entry} is broken" in str(caught.value)
            else:
                assert key in str(caught.value)


def test_the_first_broken_entry_is_named(done):
    held = objects(done)
    key = bundle_key(done)
    some = tiles.entries_of(held[key], int(key.rpartition("/")[2]))
    for number in (0, 5, len(some) - 1):
        changed = list(some)
        changed[number] = entries.entry("alert", 1.0, message="another").canonical()
        with pytest.raises(LedgerBrokenError, match=f"entry {number} is broken"):
            verified(done, {**held, key: tiles.bundle(changed)})
    with pytest.raises(LedgerBrokenError, match=f"entry {len(some) - 1} is broken: .* it ends after"):
        verified(done, {**held, key: tiles.bundle(some[:3] + some[4:])})
    swapped = [some[1], some[0], *some[2:]]
    with pytest.raises(LedgerBrokenError, match="entry 0 is broken"):
        verified(done, {**held, key: tiles.bundle(swapped)})


def test_truncated_missing_and_swapped_tiles_are_named(done):
    held = objects(done)
    bundle = bundle_key(done)
    level0 = bundle.replace("/entries/", "/0/")
    with pytest.raises(LedgerBrokenError, match=r"entry \d+ is broken: .*it ends after"):
        verified(done, {**held, bundle: held[bundle][:-7]})
    with pytest.raises(LedgerBrokenError, match=f"{level0} is broken: it has"):
        verified(done, {**held, level0: held[level0][:-7]})
    with pytest.raises(LedgerBrokenError, match=r"entry 0 is broken: .* is missing"):
        verified(done, {key: data for key, data in held.items() if key != bundle})
    with pytest.raises(LedgerBrokenError, match=f"{level0} is missing"):
        verified(done, {key: data for key, data in held.items() if key != level0})
    with pytest.raises(LedgerBrokenError, match="is broken"):
        verified(done, {**held, bundle: held[level0], level0: held[bundle]})


def test_another_key_and_another_jobs_checkpoint_are_named(done):
    held = objects(done)
    key = done.layout.ledger(tiles.CHECKPOINT)
    with pytest.raises(LedgerBrokenError, match="no good signature"):
        verified(done, held, key=Signer(done.layout.ledger_origin, bytes(32)).verifier)
    other = Signer("fedloom.dev/ledger/lab/other", ledger_seed(JOB_KEY)).signed(1, bytes(32))
    with pytest.raises(LedgerBrokenError, match="and the key is that of"):
        verified(done, {**held, key: other})


def test_an_older_checkpoint_is_named_by_the_commits_and_by_the_status(done):
    held = objects(done)
    key, whole = done.layout.ledger(tiles.CHECKPOINT), verified(done, held)
    data = [each.canonical() for each in whole.entries]
    leaves = [merkle.leaf_hash(each) for each in data]

    def older(size):
        kept = {name: each for name, each in held.items() if not name.startswith("ledger/")}
        kept[key] = Signer(done.layout.ledger_origin, ledger_seed(JOB_KEY)).signed(size, merkle.root_of(leaves[:size]))
        kept[done.layout.ledger(f"tile/entries/000.p/{size}")] = tiles.bundle(data[:size])
        kept[done.layout.ledger(f"tile/0/000.p/{size}")] = b"".join(leaves[:size])
        return kept

    with pytest.raises(LedgerBrokenError, match=r"round 3 is bound to .* entries"):
        verified(done, older(3))
    known = Anchor(size=len(data), root=whole.checkpoint.root.hex())
    with pytest.raises(LedgerBrokenError, match="an older one was put back"):
        verified(done, older(len(data) - 1), known=known)


def test_a_checkpoint_of_another_tree_by_the_right_key_is_named(done):
    held, size = objects(done), len(verified(done, objects(done)).entries)
    forged = Signer(done.layout.ledger_origin, ledger_seed(JOB_KEY)).signed(size, bytes(32))
    with pytest.raises(LedgerBrokenError, match="a checkpoint of another tree"):
        verified(done, {**held, done.layout.ledger(tiles.CHECKPOINT): forged})


def put_back(job, held):
    """The store's records are what they were."""
    for path in [*(job.root / "store" / "control").rglob("*"), *(job.root / "store" / "ledger").rglob("*")]:
        if path.is_file():
            path.unlink()
    for key, data in held.items():
        path = job.root / "store" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def went_back(tmp_path):
    """A job whose whole store was put back to an older state, its status was not."""
    job = JobFolder(tmp_path, config(rounds=2))
    with Aggregator(job).ready():
        until(lambda: job.status().get("ledger"))
    held = objects(job)  # with what of the ledger there is by now; nobody writes it meanwhile
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    put_back(job, held)
    close_clients()
    return job


def test_a_store_that_was_put_back_is_not_believed(went_back):
    with Aggregator(went_back) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
        assert "an older state of the store was put back" in aggregator.log()
        assert "spec.rollbackTo" in aggregator.log()


def test_who_asks_for_it_goes_on_from_it_and_the_ledger_says_so(went_back):
    size = went_back.status()["ledger"]["size"]
    went_back.write_config(went_back.config.model_copy(update={"rollback_to": RollbackTo(round=0, id="seen")}))
    with Aggregator(went_back).ready():
        until(
            lambda: went_back.status()["ledger"]["size"] != size or "outcome" not in went_back.status(),
            not_yet=(KeyError,),
        )
    found = verified(went_back, objects(went_back))
    assert [each.facts["reason"] for each in found.entries if each.kind == "alert"] == ["LedgerWentBack"]
    close_clients()


def test_a_ledger_that_is_gone_is_missed(done, tmp_path):
    job = JobFolder(tmp_path, config())
    put_back(job, {key: data for key, data in objects(done).items() if not key.startswith("ledger/")})
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
        assert "the last commit is bound to" in aggregator.log()


def forge(job, held):
    """A round more, as somebody makes it who can write the store and has no key."""
    last = job.commits()[-1]
    head = Head.stored(held[job.layout.head])
    told = {"round": last.round + 1, "previous_sha256": head.commit_sha256, "participants": (), "checksum": None}
    commit = last.model_copy(update=told).sealed()
    key = job.layout.record(commit.round, head.epoch, commit.attempt, "commit.json")
    moved = {"round": commit.round, "commit_key": key, "commit_sha256": commit.digest(), "finished": None}
    forged = head.model_copy(update={**moved, "reason": "", "message": "", "finished_at": None})
    return {**held, key: commit.canonical(), job.layout.head: forged.sealed().canonical()}


def test_a_commit_that_somebody_else_put_there_is_not_gone_on_from(done, tmp_path):
    held = objects(done)
    forged = forge(done, held)
    assert Head.stored(held[done.layout.head]).commit_signature is not None
    with pytest.raises(LedgerBrokenError, match="no entry tells that round 4 was committed, and it is not signed"):
        verified(done, forged)
    job = JobFolder(tmp_path, config(rounds=5))
    shutil.copytree(done.root / "store", job.root / "store", dirs_exist_ok=True)
    put_back(job, forged)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED, aggregator.log()
        assert "somebody else has put it there" in aggregator.log()
    unsigned = Head.stored(forged[job.layout.head]).model_copy(update={"commit_signature": None, "epoch": 9})
    put_back(job, {**forged, job.layout.head: unsigned.sealed().canonical()})
    store = open_store(str(job.root / "store"))
    assert "the ledger does not tell of this commit" in " ".join(repaired(store, job.layout))
    assert job.head().round == 3
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    assert verified(job, objects(job)).commits == 6
    close_clients()


def test_a_witness_can_read_the_checkpoint(done):
    """By the format alone: text, blank line, signature lines."""
    data = objects(done)[done.layout.ledger(tiles.CHECKPOINT)]
    found = note.opened(data, note.Verifier.parsed(done.status()["ledger"]["publicKey"]))
    assert found.size == done.status()["ledger"]["size"]
