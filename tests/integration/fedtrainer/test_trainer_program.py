"""The trainer as a process against the real aggregator: rounds, exit codes, resumption. Faults between them: ../protocol."""

import os
import signal
import time

import pytest

from fedaggregator.clock import steady_clock
from fedapi import names
from fedapi.outcome import Exit
from fedtrainer.agent import checkpoint_store
from tests.integration.fedtrainer.programs import Site
from tests.integration.protocol.application import UID
from tests.integration.protocol.faults import Answer
from tests.waiting import until


@pytest.mark.parametrize("inline", [True, False])
def test_two_rounds_and_their_evaluations(tmp_path, made, inline):
    hub = made(rounds=2, inline=inline)
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model("AddOne"))
    ended = site.run("train", "AddOne")
    assert ended.code == 0, ended.log
    assert [(m.round, m.client, m.samples, m.metrics["steps"]) for m in hub.updates] == [
        (1, "site-a", 3, 1.0),
        (2, "site-a", 3, 1.0),
    ]
    for manifest in hub.updates:
        update = hub.tensors(manifest)
        assert sorted(update) == ["bias", "weight"]
        assert all(abs(tensor - 1).max() < 1e-6 for tensor in update.values())
    assert len({m.base_sha256 for m in hub.updates}) == 2, "the second round starts from the first one's model"
    assert [(e["round"], e["samples"]) for e in hub.evaluations] == [(0, 16), (1, 16), (2, 16)]
    assert set(hub.evaluations[0]["metrics"]) == {"accuracy", "loss"}
    assert site.hub.token("site-a") not in ended.log
    assert not list((site.folder / "state").iterdir()), "nothing is left behind"
    blobs = [e for e in hub.line.exchanges if e.route in ("get", "put")]
    assert bool([e for e in blobs if e.route == "get" or "/updates/" in e.path]) is not inline
    assert all(e.authorization is None for e in blobs), "blob URLs get no token"


def test_the_same_seed_gives_the_same_bytes(tmp_path, made):
    digests = []
    for n in range(2):
        hub = made(training={"epochs": 2, "batch_size": 7})
        site = Site(tmp_path / f"site{n}", hub)
        hub.give(site.initial_model())
        assert site.call("train").code == 0
        digests.append(hub.updates[0].objects[0].sha256)
    assert digests[0] == digests[1]


def test_a_killed_training_goes_on_with_the_same_bits(tmp_path, made):
    """Dropout, batch norm and Adam, killed in the middle of the third epoch."""
    digests = []
    for n, marked in enumerate((True, False)):
        optimizer = {"name": "Adam", "learning_rate": 0.01}
        hub = made(training={"epochs": 4, "batch_size": 16, "optimizer": optimizer, "checkpoint_every_s": 0.0})
        marker = tmp_path / f"marker{n}"
        site = Site(tmp_path / f"site{n}", hub, env={"TINY_MARKER": str(marker)})
        if marked:
            marker.touch()  # undisturbed
        hub.give(site.initial_model("KilledOnce"))
        if not marked:
            assert site.run("train", "KilledOnce").code == -signal.SIGKILL
        ended = site.run("train", "KilledOnce")
        assert ended.code == 0, ended.log
        assert ("goes on after epoch 2, step 1 of" in ended.log) is not marked
        digests.append(hub.updates[0].objects[0].sha256)
    assert digests[0] == digests[1]


def test_a_finished_update_is_handed_in_again_not_trained_again(tmp_path, made):
    hub = made(inline=False)
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_PATIENCE_S": "0.2"})
    hub.give(site.initial_model())
    hub.line.plan("updates", *[Answer(503)] * 50)
    assert site.call("train").code == Exit.AGGREGATOR_LOST
    assert not hub.updates
    hub.line.mend()
    ended = site.call("train")
    assert ended.code == 0
    assert "hands in the update of an earlier process" in ended.log
    bases = [e.path for e in hub.line.exchanges if e.route == "get" and "000000-" in e.path]
    assert len(bases) == 1, "the base is downloaded once"
    assert len(hub.updates) == 1


@pytest.mark.parametrize(
    ("kind", "code", "reason", "words"),
    [
        ("NoData", Exit.DATA_MISSING, "DataMissing", "patients/train.csv"),
        ("NoFile", Exit.DATA_MISSING, "DataMissing", "absent.csv"),
        ("OtherShape", Exit.TASK_INVALID, "TaskInvalid", "model() has 0.bias as nothing"),
        ("WordMetric", Exit.TASK_INVALID, "TaskInvalid", "metric 'accuracy' is 'good'"),
        ("NoParameters", Exit.TASK_INVALID, "TaskInvalid", "no parameters"),
        ("LongName", Exit.TASK_INVALID, "TaskInvalid", "has 64 characters: 1 to 63"),
    ],
)
def test_a_task_at_fault_is_reported_before_the_end(tmp_path, hub, kind, code, reason, words):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    hub.plan()
    ended = site.call("train", kind)
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert ended.reason.count("\n") == 1
    assert [(f["reason"], f["round"], f["attempt"]) for f in hub.failures] == [(reason, 1, 1)]


def test_a_task_that_raises_is_not_reported_but_tried_again_in_the_same_round(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"TINY_MARKER": str(tmp_path / "marker")})
    hub.give(site.initial_model("RaisesOnce"))
    ended = site.call("train", "RaisesOnce")
    assert (ended.code, ended.reason.strip()) == (
        Exit.TASK_FAILED,
        "the task's train() raised RuntimeError: out of luck",
    )
    assert not hub.failures, "a failure would end the round for this site"
    assert site.call("train", "RaisesOnce").code == 0
    assert [(m.round, m.attempt) for m in hub.updates] == [(1, 1)]
    assert not hub.failures


def test_a_task_may_use_all_metrics_up(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model("ManyMetrics"))
    ended = site.call("train", "ManyMetrics")
    assert ended.code == 0, ended.log
    report, (manifest,) = hub.evaluations[0], hub.updates
    longest = "m00".ljust(63, "x")
    assert set(report["metrics"]) == {longest, *(f"m{n:02d}" for n in range(1, 32))}
    assert set(manifest.metrics) == {"train_loss", *(f"local_m{n:02d}" for n in range(1, 32))}


def test_an_evaluation_uses_the_jobs_settings(tmp_path, made):
    hub = made(training={"batch_size": 5})
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model("BatchSize"))
    assert site.call("train", "BatchSize").code == 0
    assert [(e["round"], e["metrics"]) for e in hub.evaluations] == [(n, {"batch_size": 5.0}) for n in (0, 1)]


def test_folders_of_other_jobs_go_when_nobody_uses_them(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    week_ago = time.time() - checkpoint_store.FORGOTTEN_S - 60
    jobs = {n: f"{n * 8}-0000-4000-8000-000000000000" for n in "abc"}
    folders = {n: site.folder / "state" / name / "site-a" for n, name in jobs.items()}
    folders["lost+found"] = site.folder / "state" / "lost+found" / "x"
    for folder in folders.values():
        (folder / "000001-1-ab").mkdir(parents=True)
        (folder / "000001-1-ab" / "checkpoint.safetensors").touch()
        if folder == folders["c"]:
            (folder / "state").mkdir()
            (folder / "state" / f"current-000001-1-{'0' * 64}.safetensors").touch()
        for path in (folder / "000001-1-ab", folder, folder.parent):
            os.utime(path, (week_ago, week_ago))
    os.utime(folders["b"])  # as its process does with every question
    assert site.call("train").code == 0
    assert {name for name, folder in folders.items() if folder.exists()} == {"b", "c", "lost+found"}
    assert [path.name for path in folders["c"].iterdir()] == ["state"], "a site's state is not ours to delete"
    assert not (site.folder / "state" / UID).exists(), "its own is over"


@pytest.mark.parametrize("kind", ["NaN", "NanWeights"])
def test_divergence_is_reported_and_the_site_goes_on(tmp_path, made, kind):
    hub = made(max_failures=1)
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model(kind))
    assert site.call("train", kind).code == 0
    assert [(f["reason"], f["round"], f["attempt"]) for f in hub.failures] == [
        ("TrainingDiverged", 1, 1),
        ("TrainingDiverged", 1, 2),
    ]
    assert not hub.updates


def test_dropped_work_stops_early(tmp_path, made, monkeypatch):
    """The deadline passes, and the job has no second attempt: the site is told in the middle of its training."""
    steady, ahead_s = steady_clock(), [0.0]
    monkeypatch.setattr("fedaggregator.__main__.steady_clock", lambda: lambda: steady() + ahead_s[0])
    hub = made(deadline_s=600.0, max_failures=0, inline=False)
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    process = site.start("train", "Endless")
    until(lambda: any(e.route == "get" for e in hub.line.exchanges))
    own = site.folder / "state" / UID / "site-a"
    os.utime(own, (0, 0))
    until(lambda: own.stat().st_mtime > 0)  # a training that goes on is in use
    ahead_s[0] = 601.0
    ended = site.end(process)
    assert ended.code == 0, ended.log
    assert "no longer wanted" in ended.log
    assert not hub.failures


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"token": "b" * 64}, Exit.REFUSED, "refuses this site"),
        ({"env": {"FEDLOOM_JOB_UID": ""}}, Exit.BAD_SETTINGS, "FEDLOOM_JOB_UID"),
        ({"env": {"FEDLOOM_TASK_ARGS": "{"}}, Exit.BAD_SETTINGS, "FEDLOOM_TASK_ARGS"),
        ({"env": {"FEDLOOM_AGGREGATOR_URL": "http://x"}}, Exit.BAD_SETTINGS, "FEDLOOM_AGGREGATOR_URL"),
        ({"env": {"FEDLOOM_CREDENTIALS_DIR": "/nowhere"}}, Exit.BAD_SETTINGS, "/nowhere"),
        (
            {"env": {"FEDLOOM_AGGREGATOR_URL": "https://127.0.0.1:1", "FEDLOOM_PATIENCE_S": "0.3"}},
            Exit.AGGREGATOR_LOST,
            "ConnectionRefusedError",
        ),
    ],
)
def test_a_site_that_cannot_start(tmp_path, hub, change, code, words):
    ended = Site(tmp_path / "site", hub, **change).call("train")
    assert ended.code == code, ended.log
    assert words in ended.reason


@pytest.mark.parametrize(
    ("kind", "entrypoint", "code", "words"),
    [
        ("", "absent_module:task", Exit.TASK_IMPORT, "No module named 'absent_module'"),
        ("", "tiny_task:absent", Exit.TASK_IMPORT, "no callable 'absent'"),
        ("", "tiny_task:broken", Exit.TASK_IMPORT, "ValueError: no such thing"),
        ("x", "tiny_task:broken", Exit.TASK_IMPORT, "task.args ['kind']"),
        ("", "tiny_task:not_a_task", Exit.TASK_INVALID, "fedtrainer.Task"),
        ("", "nonsense", Exit.BAD_SETTINGS, "FEDLOOM_ENTRYPOINT"),
        ("NoParameters", "tiny_task:task", Exit.TASK_INVALID, "no parameters"),
    ],
)
def test_init_of_a_wrong_task(tmp_path, kind, entrypoint, code, words):
    ended = Site(tmp_path / "site").call("init", kind, entrypoint)
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert not list((tmp_path / "site" / "init").iterdir())


def test_a_foreign_certificate_is_not_trusted(tmp_path, hub, made):
    site = Site(tmp_path / "site", made(), env={names.ENV_AGGREGATOR_URL: hub.url, "FEDLOOM_PATIENCE_S": "0.3"})
    ended = site.call("train")
    assert ended.code == Exit.AGGREGATOR_LOST
    assert "CERTIFICATE_VERIFY_FAILED" in ended.reason


def test_sigterm_ends_a_training_at_once(tmp_path, made):
    hub = made(inline=False)
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    process = site.start("train", "Endless")
    until(lambda: any(e.route == "get" for e in hub.line.exchanges))
    process.send_signal(signal.SIGTERM)
    assert site.end(process).code == 128 + signal.SIGTERM
    assert not hub.failures


def test_a_site_survives_a_restart_of_the_aggregator(tmp_path, hub):
    """It speaks to the aggregator itself: nobody listens there for a while."""
    site = Site(tmp_path / "site", hub, env={names.ENV_AGGREGATOR_URL: hub.job.url})
    process = site.start("train")
    until(lambda: hub.job.status()["clients"][0]["state"] == "Idle", not_yet=(KeyError,))
    hub.stop()
    hub.job.extra_env[names.ENV_PUBLIC_URL] = hub.job.url
    until(lambda: "trying again" in (site.folder / "log").read_text() or process.poll() is not None)
    assert process.poll() is None
    hub.start()
    hub.give(site.initial_model())
    ended = site.end(process)
    assert ended.code == 0, ended.log
    until(lambda: hub.job.status()["clients"][0]["lastRound"] == 1, not_yet=(KeyError,))
