"""`fedloom ledger` over the store that a real aggregator wrote: whole, broken, proved, exported."""

import json
import shutil

import pytest
import typer
from typer.testing import CliRunner

from fedapi.wire.tokens import ledger_seed
from fedcli.errors import CommandError
from fedcli.ledger import app
from fedcli.withdraw import withdraw
from fedcore.ledger.note import Signer
from fedlocal.errors import BadInputError
from tests.integration.fedaggregator.harness import JOB_KEY, Aggregator, JobFolder, close_clients, config, run_sites
from tests.waiting import until

OTHER = str(Signer("fedloom.dev/ledger/lab/other", bytes(32)).verifier)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    made = JobFolder(tmp_path_factory.mktemp("job"), config(rounds=1))
    with Aggregator(made).ready():
        run_sites(made)
        until(lambda: "outcome" in made.status())
    close_clients()
    return made


@pytest.fixture
def copy(job, tmp_path):
    """Of the store: what somebody has who has nothing else."""
    return shutil.copytree(job.root / "store", tmp_path / "copy")


def key(job):
    return str(Signer(job.layout.ledger_origin, ledger_seed(JOB_KEY)).verifier)


def ran(*words, of=app):
    done = CliRunner().invoke(of, [*map(str, words)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_a_copy_is_verified_with_the_key_alone(job, copy):
    said = ran("verify", "--store", f"file:{copy}", "--public-key", key(job))
    assert f"{job.layout.ledger_origin}: whole, {job.status()['ledger']['size']} entries" in said
    assert "2 committed rounds are bound to it, from round 0 on; not compared with the job's status" in said


def test_without_a_key_it_says_what_to_give(copy):
    with pytest.raises(BadInputError, match="give --public-key"):
        ran("verify", "--store", f"file:{copy}")


def test_another_key_and_no_key(copy):
    with pytest.raises(CommandError, match="the key is that of"):
        ran("verify", "--store", f"file:{copy}", "--public-key", OTHER)
    with pytest.raises(BadInputError, match="is no Ed25519 key"):
        ran("verify", "--store", f"file:{copy}", "--public-key", "x")


def test_the_first_broken_entry_is_named(job, copy):
    bundle = copy / job.layout.ledger(f"tile/entries/000.p/{job.status()['ledger']['size']}")
    data = bundle.read_bytes()
    bundle.write_bytes(data.replace(b'"client":"a"', b'"client":"b"', 1))
    with pytest.raises(CommandError, match=r"the ledger is broken: entry \d+ is broken"):
        ran("verify", "--store", f"file:{copy}", "--public-key", key(job))


def test_a_commit_that_was_exchanged_is_named(job, copy):
    commit = next(copy.rglob("000001/*/commit.json"))
    commit.write_bytes(commit.read_bytes().replace(b'"client":"a"', b'"client":"b"', 1))
    with pytest.raises(CommandError, match=r"the commit of round 1 .* is lost or changed"):
        ran("verify", "--store", f"file:{copy}", "--public-key", key(job))


def test_entries_are_exported_with_their_numbers(job, copy, tmp_path):
    lines = ran("export", "--store", f"file:{copy}", "--public-key", key(job)).splitlines()
    said = [json.loads(line) for line in lines]
    assert [each["entry"] for each in said] == list(range(job.status()["ledger"]["size"]))
    assert said[0]["kind"] == "started"
    ran("export", "--store", f"file:{copy}", "--public-key", key(job), "-o", tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_text().splitlines() == lines
    with pytest.raises(BadInputError, match="--output"):
        ran("export", "--store", f"file:{copy}", "--public-key", key(job), "-o", tmp_path / "no" / "out")


@pytest.mark.parametrize("asked", [("--entry", "4"), ("--since", "5"), ("--since", "0")])
def test_a_proof_is_checked_with_the_key_alone(job, copy, tmp_path, asked):
    proof = tmp_path / "proof.json"
    proof.write_text(ran("prove", "--store", f"file:{copy}", "--public-key", key(job), *asked))
    assert "the proof holds" in ran("prove", "--check", proof, "--public-key", key(job))
    with pytest.raises(CommandError, match="the key is that of"):
        ran("prove", "--check", proof, "--public-key", OTHER)
    changed = json.loads(proof.read_text())
    if "content" in changed:
        changed["content"] = changed["content"].replace("a", "b")
    else:
        changed["root"] = "1" * 64
    proof.write_text(json.dumps(changed))
    with pytest.raises(CommandError, match="the proof does not hold"):
        ran("prove", "--check", proof, "--public-key", key(job))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"hashes": 1, "checkpoint": 2}', '{"hashes": ["x"], "checkpoint": ""}', "[" * 10_000, "\0"],
)
def test_what_is_no_proof(job, tmp_path, text):
    proof = tmp_path / "proof.json"
    proof.write_text(text)
    with pytest.raises(BadInputError, match="it is no proof"):
        ran("prove", "--check", proof, "--public-key", key(job))


def test_what_cannot_be_proved(job, copy):
    where = ("--store", f"file:{copy}", "--public-key", key(job))
    with pytest.raises(BadInputError, match=r"--entry 9999: the ledger has \d+ entries"):
        ran("prove", *where, "--entry", "9999")
    with pytest.raises(BadInputError, match="--since 9999"):
        ran("prove", *where, "--since", "9999")
    with pytest.raises(BadInputError, match="give one of"):
        ran("prove", *where)


def test_a_withdrawal_names_the_entries_of_the_sites_updates(job, copy):
    where = ("--store", f"file:{copy}", "--public-key", key(job))
    withdrawing = typer.Typer()
    withdrawing.command()(withdraw)
    said = json.loads(ran("--site", "a", "--json", *where, of=withdrawing))
    assert (said["backTo"], said["undone"], said["others"], said["kept"]) == (0, [1], {"b": 1}, True)
    lines = [json.loads(line) for line in ran("export", *where).splitlines()]
    told = lines[said["updates"][0]["entry"]]
    assert (told["kind"], told["client"], told["payloads"]) == ("accepted", "a", said["updates"][0]["payloads"])
    report = ran("--site", "a", *where, of=withdrawing)
    assert "going back to round 0 undoes 1 rounds" in report
    assert said["ended"]
    assert "the job has ended, and goes back no more" in report
    assert "rollbackTo" not in report
    with pytest.raises(BadInputError, match="give --site"):
        ran(*where, of=withdrawing)
    with pytest.raises(BadInputError, match="--apply changes a job on a cluster"):
        ran("--site", "a", "--apply", *where, of=withdrawing)


def test_a_withdrawal_of_nobody_is_not_told_that_all_is_well(copy, job):
    where = ("--store", f"file:{copy}", "--public-key", key(job))
    withdrawing = typer.Typer()
    withdrawing.command()(withdraw)
    with pytest.raises(BadInputError, match=r"no such site ever took part in this job$"):
        ran("--site", "stranger", *where, of=withdrawing)
    with pytest.raises(BadInputError, match=r"'aa': no such site ever took part in this job: did you mean a\?"):
        ran("--site", "aa", *where, of=withdrawing)
