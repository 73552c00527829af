"""A store that rots under the real aggregator: what is damaged is named, nothing is made of it, and there is a way out."""

import contextlib
import os
import subprocess
import sys

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from fedapi.outcome import Exit
from fedapi.wire.job import StopRule
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from tests.integration.fedaggregator.harness import (
    PATIENCE_S,
    UID,
    Aggregator,
    JobFolder,
    Site,
    config,
    run_sites,
    small_model,
    until,
)

CLIENTS = ("a", "b")


def changed(path, old: bytes = b"", new: bytes = b"") -> None:
    """Other content of the same size: one bit of the last byte, or these words."""
    data = path.read_bytes()
    rotten = data.replace(old, new, 1) if old else data[:-1] + bytes([data[-1] ^ 1])
    assert rotten != data
    path.chmod(0o640)
    path.write_bytes(rotten)


def no_file(path, *_) -> None:
    """A pipe, which keeps whoever opens it until somebody writes."""
    path.unlink()
    os.mkfifo(path)


def a_link(path, *_) -> None:
    """The right content, but somewhere else."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def object_of(job: JobFolder, pattern: str):
    (found,) = (job.root / "store").glob(pattern)
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS, rounds=2))
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


def with_one_accepted(job: JobFolder) -> list[Site]:
    """Round 1 is open: site a's update is accepted, site b has not delivered. The aggregator is down."""
    sites = [Site(job, "a", samples=10), Site(job, "b", samples=15)]
    with Aggregator(job).ready():
        for site in sites:
            site.next(0.0)
        assert sites[0].take_part(sites[0].next().train).status_code == 200
    return sites


def finish(job: JobFolder, sites: list[Site]) -> None:
    for thread, site in [(site.start(), site) for site in sites]:
        thread.join(PATIENCE_S)
        assert site.error is None
        assert not thread.is_alive()
    until(lambda: "outcome" in job.status())


@pytest.mark.parametrize(
    ("damage", "pattern", "old", "new"),
    [
        (changed, "updates/*/*/a/*.safetensors", b"", b""),
        (changed, "updates/*/*/a/*.manifest.json", b'"samples":10', b'"samples":90'),
        (no_file, "updates/*/*/a/*.safetensors", b"", b""),
        (a_link, "updates/*/*/a/*.safetensors", b"", b""),
    ],
    ids=["update", "manifest", "pipe", "link"],
)
def test_a_site_is_asked_again_for_what_is_damaged(tmp_path, undisturbed, damage, pattern, old, new):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2))
    sites = with_one_accepted(job)
    damaged = object_of(job, pattern)
    damage(damaged, old, new)
    with Aggregator(job).ready() as aggregator:
        finish(job, sites)
        assert str(damaged.relative_to(tmp_path / "store")) in aggregator.log()
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert [[p.samples for p in commit.participants] for commit in job.commits()] == [[], [10, 15], [10, 15]]
    assert sites[0].trained == [(1, 1), (1, 1), (2, 1)]
    entry = next(c for c in job.status()["clients"] if c["name"] == "a")
    assert entry["failures"] == 0
    assert "damaged in the store" in entry["message"]


def test_a_flipped_base_ends_the_process_by_name_and_blames_no_site(tmp_path):
    job = JobFolder(tmp_path, config(CLIENTS, max_failures=0))
    sites = [Site(job, client) for client in CLIENTS]
    with Aggregator(job).ready() as aggregator:
        for site in sites:
            site.next(0.0)
        order = sites[0].next().train
        model = object_of(job, "models/*/*/*.safetensors")
        changed(model)
        message = f"WrongDigest: the model's bytes have SHA-256 {'0' * 64}, the order says {order.model.sha256}"
        with contextlib.suppress(httpx.HTTPError):  # the process ends before it answers, or says that it does
            sites[0].fail(order, "UpdateRefused", message)
        assert aggregator.wait() == Exit.STORE_DAMAGED
    said = (tmp_path / "termination.log").read_text()
    assert str(model.relative_to(tmp_path / "store")) in said
    assert "fedloom store repair" in said
    assert "outcome" not in job.status()
    with Aggregator(job) as again:  # found before any site asks
        assert again.wait() == Exit.STORE_DAMAGED
    assert not list((tmp_path / "store").rglob("failure.json"))


def test_a_base_that_is_flipped_after_it_was_checked_is_never_folded(tmp_path):
    job = JobFolder(tmp_path, config(CLIENTS))
    sites = [Site(job, client) for client in CLIENTS]
    with Aggregator(job).ready() as aggregator:
        for site in sites:
            site.next(0.0)
        orders = [site.next().train for site in sites]
        sites[0].take_part(orders[0])
        data = save(small_model())
        grant = sites[1].grant(orders[1], data)
        sites[1].http.put(grant.url, content=data).raise_for_status()
        changed(object_of(job, "models/*/*/*.safetensors"))
        sites[1].post("updates", sites[1].manifest(orders[1], grant))
        assert aggregator.wait() == Exit.STORE_DAMAGED
    assert "models/" in (tmp_path / "termination.log").read_text()
    assert job.head().round == 0


def repair(job: JobFolder) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "fedaggregator.repair", str(job.root / "store")]
    return subprocess.run(command, env=job.env(), capture_output=True, text=True, check=False)


def test_without_head_the_job_does_not_begin_anew_and_repair_goes_on(tmp_path, undisturbed):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2))
    sites = [Site(job, "a", samples=10), Site(job, "b", samples=15)]
    with Aggregator(job).ready():
        for site in sites:
            site.next(0.0)
        for site in sites:
            site.take_part(site.next().train)
        until(lambda: job.head().round == 1)
    (tmp_path / "store" / job.layout.head).unlink()
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED
    said = (tmp_path / "termination.log").read_text()
    assert f"{job.layout.head} is missing" in said
    assert "fedloom store repair" in said
    done = repair(job)
    assert (done.returncode, done.stderr) == (0, "")
    assert "lab/job: HEAD was set to round 1" in done.stdout
    with Aggregator(job).ready():
        finish(job, sites)
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert [site.trained for site in sites] == [[(1, 1), (2, 1)]] * 2
    assert "nothing was changed" in repair(job).stdout


def test_an_older_head_is_named_and_repair_goes_on_from_the_newest_round(tmp_path, undisturbed):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2))
    sites = [Site(job, "a", samples=10), Site(job, "b", samples=15)]
    path = tmp_path / "store" / job.layout.head
    with Aggregator(job).ready():
        older = path.read_bytes()
    with Aggregator(job).ready():
        for site in sites:
            site.next(0.0)
        for site in sites:
            site.take_part(site.next().train)
        until(lambda: job.head().round == 1)
    path.chmod(0o640)
    path.write_bytes(older)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED
    assert "an older HEAD was put back" in (tmp_path / "termination.log").read_text()
    assert "lab/job: HEAD was set to round 1" in repair(job).stdout
    with Aggregator(job).ready():
        finish(job, sites)
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert [site.trained for site in sites] == [[(1, 1), (2, 1)]] * 2


@pytest.mark.parametrize("record", ["HEAD.json", "rounds/000000/e1-a0/commit.json"])
def test_a_truncated_record_is_named_and_is_no_bad_setting(tmp_path, record):
    job = JobFolder(tmp_path, config(CLIENTS))
    with Aggregator(job).ready():
        pass
    path = object_of(job, f"control/*/*/{record}")
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:40])
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED
    assert str(path.relative_to(tmp_path / "store")) in (tmp_path / "termination.log").read_text()
    assert "commit" not in record or repair(job).returncode == Exit.STORE_DAMAGED


@pytest.mark.parametrize("damage", [no_file, a_link])
@pytest.mark.parametrize("pattern", ["control/*/*/HEAD.json", "models/*/*/*.safetensors"], ids=["HEAD", "model"])
def test_what_is_no_file_is_named_and_not_waited_for(tmp_path, pattern, damage):
    job = JobFolder(tmp_path, config(CLIENTS))
    with Aggregator(job).ready():
        pass
    path = object_of(job, pattern)
    damage(path)
    with Aggregator(job) as aggregator:
        assert aggregator.wait() == Exit.STORE_DAMAGED
    assert str(path.relative_to(tmp_path / "store")) in (tmp_path / "termination.log").read_text()
    assert repair(job).returncode == (Exit.OK if path.name == "HEAD.json" else Exit.STORE_DAMAGED)


@pytest.mark.parametrize("damage", [no_file, a_link])
def test_a_manifest_that_is_no_file_makes_room_for_the_next(tmp_path, undisturbed, damage):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2))
    sites = with_one_accepted(job)
    damage(object_of(job, "updates/*/*/a/*.manifest.json"))
    with Aggregator(job).ready():
        finish(job, sites)
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert sites[0].trained == [(1, 1), (1, 1), (2, 1)]


def test_foreign_files_are_ignored_and_left_alone(tmp_path, undisturbed):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2))
    with Aggregator(job).ready():
        pass
    folders = [path for path in (tmp_path / "store").rglob("*") if path.is_dir()]
    strays = [folder / name for folder in folders for name in ("README", ".nfs00000001", "lost+found", "a b")]
    for stray in strays:
        stray.mkdir() if stray.name == "lost+found" else stray.write_bytes(b"stray")
    strays = [
        stray for stray in strays if not {".tmp", ".spare"}.intersection(stray.parts)
    ]  # ours: killed writers left it
    with Aggregator(job).ready():
        run_sites(job)
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert [stray for stray in strays if not stray.exists()] == []


def test_updates_that_make_the_model_infinite_fail_by_name(tmp_path):
    """3.4e38 twice: each is finite, the sum of base and update is not."""
    huge = {name: np.full_like(values, 3.4e38 if name == "layer.bias" else 0) for name, values in small_model().items()}
    job = JobFolder(tmp_path, config(CLIENTS, max_failures=1), model=huge)
    with Aggregator(job).ready():
        sites = run_sites(
            job, train=lambda model, client, order: {name: values.copy() for name, values in huge.items()}
        )
        until(lambda: "outcome" in job.status())
    outcome = job.status()["outcome"]
    assert (outcome["result"], outcome["reason"]) == ("Failed", "ModelNotFinite")
    assert "'layer.bias'" in outcome["message"]
    assert [site.trained for site in sites] == [[(1, 1), (1, 2)]] * 2
    assert [commit.round for commit in job.commits()] == [0]
    assert job.status()["model"]["round"] == 0


def test_one_site_does_not_end_a_job_by_what_it_claims(tmp_path):
    """accuracy 1.0 on 2^40 samples: refused, told in the status; a paused site's evaluation is refused as well."""
    stop = StopRule(metric="accuracy", target=0.9)
    job = JobFolder(tmp_path, config((*CLIENTS, "liar", "paused"), rounds=1, stop=stop, quorum=2, min_available=2))
    with Aggregator(job).ready():
        sites = {client: Site(job, client) for client in (*CLIENTS, "liar", "paused")}
        for site in sites.values():
            site.next(0.0)
        order = sites["liar"].next().train
        roster = tuple(
            RosterEntry(name=name, eligible=name != "paused", reason="Paused" if name == "paused" else "")
            for name in sites
        )
        job.write_config(job.config.model_copy(update={"roster": roster}))

        def report(client, samples, round_=0):
            message = EvaluationReport(
                job_uid=UID, round=round_, client=client, model_sha256=order.model.sha256, samples=samples,
                metrics={"accuracy": 1.0},
            )  # fmt: skip
            answer = sites[client].post("evaluations", message)
            return answer.status_code, answer.json().get("code")

        assert report("liar", 1 << 40) == (413, "TooLarge")
        until(lambda: report("paused", 10) == (409, "NotSelected"))
        for client in CLIENTS:
            sites[client].evaluate(0, order.model)
        shown = {c["name"]: c for c in job.status()["clients"]}
        until(
            lambda: next(c for c in job.status()["clients"] if c["name"] == "liar")["failures"] == 1,
            not_yet=(KeyError,),
        )
        shown = {c["name"]: c for c in job.status()["clients"]}
        assert "clients.maxSamples" in shown["liar"]["message"]
