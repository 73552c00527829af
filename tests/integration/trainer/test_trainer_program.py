"""The trainer as a process against an HTTPS hub: rounds, faults, exit codes, resumption."""

import os
import signal
import time

import pytest
from safetensors.torch import load

from fedapi.outcome import Exit
from fedtrainer.agent import checkpoint_store
from tests.integration.trainer.hub import Hub
from tests.integration.trainer.programs import HERE, UID, Site, end_all
from tests.waiting import until


@pytest.fixture
def hub(tmp_path):
    hub = Hub(tmp_path / "hub")
    yield hub
    hub.close()


@pytest.fixture(autouse=True)
def tasks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()


def test_two_rounds_and_an_evaluation(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    model = site.initial_model("AddOne")
    hub.train(1, model)
    hub.train(2, model, evaluate=True)
    hub.evaluate(2, model)
    hub.finish()
    ended = site.run("train", "AddOne")
    assert ended.code == 0, ended.log
    assert [(m.round, m.client, m.samples, m.metrics["steps"]) for m, _ in hub.updates] == [
        (1, "site-a", 3, 1.0),
        (2, "site-a", 3, 1.0),
    ]
    for manifest, content in hub.updates:
        update = load(content)
        assert sorted(update) == ["bias", "weight"]
        assert all((tensor - 1).abs().max() < 1e-6 for tensor in update.values())
        assert manifest.base_sha256 == hub.blob(model).sha256
    assert [(e.round, e.samples) for e in hub.evaluations] == [(1, 16), (2, 16)]
    assert set(hub.evaluations[0].metrics) == {"accuracy", "loss"}
    assert "a" * 64 not in ended.log
    assert not list((site.folder / "state").iterdir()), "nothing is left behind"
    assert all(auth is None for path, auth in hub.auth if not path.startswith("/v1")), "blob URLs get no token"


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    digests = []
    for n in range(2):
        hub = Hub(tmp_path / f"hub{n}")
        site = Site(tmp_path / f"site{n}", hub)
        hub.train(1, site.initial_model(), epochs=2, batch_size=7)
        hub.finish()
        assert site.call("train").code == 0
        hub.close()
        digests.append(hub.updates[0][0].objects[0].sha256)
    assert digests[0] == digests[1]


def test_a_killed_training_goes_on_with_the_same_bits(tmp_path):
    """Dropout, batch norm and Adam, killed in the middle of the third epoch."""
    digests = []
    for n, marked in enumerate((True, False)):
        hub = Hub(tmp_path / f"hub{n}")
        marker = tmp_path / f"marker{n}"
        site = Site(tmp_path / f"site{n}", hub, env={"TINY_MARKER": str(marker)})
        if marked:
            marker.touch()  # undisturbed
        model = site.initial_model("KilledOnce")
        optimizer = {"name": "Adam", "learning_rate": 0.01}
        order = {"epochs": 4, "batch_size": 16, "optimizer": optimizer, "checkpoint_every_s": 0.0}
        hub.train(1, model, **order)
        ended = site.run("train", "KilledOnce") if not marked else None
        if ended is not None:
            assert ended.code == -signal.SIGKILL
            hub.train(1, model, **order)
        hub.finish()
        ended = site.run("train", "KilledOnce")
        assert ended.code == 0, ended.log
        assert ("goes on after epoch 2, step 1 of" in ended.log) is not marked
        hub.close()
        digests.append(hub.updates[0][0].objects[0].sha256)
    assert digests[0] == digests[1]


def test_a_finished_update_is_handed_in_again_not_trained_again(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_PATIENCE_S": "0.2"})
    model = site.initial_model()
    hub.train(1, model)
    hub.fail_first("updates", *[(503, "Stopping")] * 50)
    assert site.call("train").code == Exit.AGGREGATOR_LOST
    assert not hub.updates
    hub.fail_first("updates")
    hub.train(1, model)
    hub.finish()
    ended = site.call("train")
    assert ended.code == 0
    assert "hands in the update of an earlier process" in ended.log
    assert [p for m, p in hub.requests if m == "GET"] == [f"/blobs/{hub.blob(model).sha256}"], "downloaded once"
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
    hub.train(1, site.initial_model(), evaluate=True)
    hub.finish()
    ended = site.call("train", kind)
    assert ended.code == code, ended.log
    assert words in ended.reason
    assert ended.reason.count("\n") == 1
    assert [(f.reason, f.round, f.attempt) for f in hub.failures] == [(reason, 1, 1)]


def test_a_task_that_raises_is_not_reported_but_tried_again_in_the_same_round(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"TINY_MARKER": str(tmp_path / "marker")})
    model = site.initial_model("RaisesOnce")
    hub.train(1, model)
    ended = site.call("train", "RaisesOnce")
    assert (ended.code, ended.reason.strip()) == (
        Exit.TASK_FAILED,
        "the task's train() raised RuntimeError: out of luck",
    )
    assert not hub.failures, "a failure would end the round for this site"
    hub.train(1, model)
    hub.finish()
    assert site.call("train", "RaisesOnce").code == 0
    assert [(m.round, m.attempt) for m, _ in hub.updates] == [(1, 1)]
    assert not hub.failures


def test_a_task_may_use_all_metrics_up(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.train(1, site.initial_model("ManyMetrics"), evaluate=True)
    hub.finish()
    ended = site.call("train", "ManyMetrics")
    assert ended.code == 0, ended.log
    (report,), ((manifest, _),) = hub.evaluations, hub.updates
    longest = "m00".ljust(63, "x")
    assert set(report.metrics) == {longest, *(f"m{n:02d}" for n in range(1, 32))}
    assert set(manifest.metrics) == {"train_loss", *(f"local_m{n:02d}" for n in range(1, 32))}


def test_an_evaluation_uses_the_jobs_settings(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.evaluate(3, site.initial_model("BatchSize"), batch_size=5)
    hub.finish()
    assert site.call("train", "BatchSize").code == 0
    assert hub.evaluations[0].metrics == {"batch_size": 5.0}


def test_folders_of_other_jobs_go_when_nobody_uses_them(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    week_ago = time.time() - checkpoint_store.FORGOTTEN_S - 60
    names = {n: f"{n * 8}-0000-4000-8000-000000000000" for n in "abc"}
    folders = {n: site.folder / "state" / name / "site-a" for n, name in names.items()}
    folders["lost+found"] = site.folder / "state" / "lost+found" / "x"
    for folder in folders.values():
        (folder / "000001-1-ab").mkdir(parents=True)
        (folder / "000001-1-ab" / "checkpoint.safetensors").touch()
        for path in (folder / "000001-1-ab", folder, folder.parent):
            os.utime(path, (week_ago, week_ago))
    os.utime(folders["b"])  # as its process does with every question
    hub.finish()
    assert site.call("train").code == 0
    assert {name for name, folder in folders.items() if folder.exists()} == {"b", "lost+found"}
    assert not (site.folder / "state" / UID).exists(), "its own is over"


@pytest.mark.parametrize("kind", ["NaN", "NanWeights"])
def test_divergence_is_reported_and_the_site_goes_on(tmp_path, hub, kind):
    site = Site(tmp_path / "site", hub)
    model = site.initial_model(kind)
    hub.train(1, model)
    hub.train(2, model)
    hub.finish()
    assert site.call("train", kind).code == 0
    assert [(f.reason, f.round) for f in hub.failures] == [("TrainingDiverged", 1), ("TrainingDiverged", 2)]
    assert not hub.updates


def test_dropped_work_stops_early(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.train(1, site.initial_model())
    process = site.start("train", "Endless")
    until(lambda: any(path.startswith("/blobs") for _, path in hub.requests))
    own = site.folder / "state" / UID / "site-a"
    os.utime(own, (0, 0))
    until(lambda: own.stat().st_mtime > 0)  # a training that goes on is in use
    hub.drop = (1, 1)
    hub.finish()
    ended = site.end(process)
    assert ended.code == 0, ended.log
    assert "no longer wanted" in ended.log
    assert not hub.failures


@pytest.mark.parametrize(
    ("route", "answers", "updates", "failures"),
    [
        ("next", [(503, "Stopping"), (429, "Stopping")], 1, []),
        ("blobs", [(503, "StoreFull")], 1, []),
        ("put", [(410, "Expired"), (403, "Expired"), (500, "StoreFull")], 1, []),
        ("updates", [(503, "Stopping")], 1, []),
        ("uploads", [(409, "StaleRound")], 0, []),
        ("updates", [(409, "StaleAttempt")], 0, []),
        ("updates", [(422, "WrongShape")], 0, ["UpdateRefused"]),
        ("uploads", [(413, "TooLarge")], 0, ["UpdateRefused"]),
        ("evaluations", [(409, "Duplicate")], 1, []),
    ],
)
def test_answers_of_the_aggregator(tmp_path, hub, route, answers, updates, failures):
    site = Site(tmp_path / "site", hub)
    hub.train(1, site.initial_model(), evaluate=True)
    hub.finish()
    hub.fail_first(route, *answers)
    ended = site.call("train")
    assert ended.code == 0, ended.log
    assert len(hub.updates) == updates
    assert [f.reason for f in hub.failures] == failures


def test_wrong_bytes_are_never_used(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    model = site.initial_model()
    hub.train(1, model)
    hub.finish()
    model.write_bytes(model.read_bytes()[:-4] + b"evil")
    assert site.call("train").code == 0
    assert [f.reason for f in hub.failures] == ["UpdateRefused"]
    assert not hub.updates


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"token": "b" * 64}, Exit.REFUSED, "refuses this site"),
        ({"env": {"FEDLOOM_JOB_UID": ""}}, Exit.BAD_SETTINGS, "FEDLOOM_JOB_UID"),
        ({"env": {"FEDLOOM_TASK_ARGS": "{"}}, Exit.BAD_SETTINGS, "task_args"),
        ({"env": {"FEDLOOM_AGGREGATOR_URL": "http://x"}}, Exit.BAD_SETTINGS, "FEDLOOM_AGGREGATOR_URL"),
        ({"env": {"FEDLOOM_CREDENTIALS_DIR": "/nowhere"}}, Exit.BAD_SETTINGS, "/nowhere"),
        (
            {"env": {"FEDLOOM_AGGREGATOR_URL": "https://127.0.0.1:1", "FEDLOOM_PATIENCE_S": "0.3"}},
            Exit.AGGREGATOR_LOST,
            "ConnectError",
        ),
    ],
)
def test_a_site_that_cannot_start(tmp_path, hub, change, code, words):
    hub.finish()
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


def test_a_foreign_certificate_is_not_trusted(tmp_path, hub):
    other = Hub(tmp_path / "other")
    site = Site(tmp_path / "site", other, env={"FEDLOOM_AGGREGATOR_URL": hub.url, "FEDLOOM_PATIENCE_S": "0.3"})
    ended = site.call("train")
    other.close()
    assert ended.code == Exit.AGGREGATOR_LOST
    assert "CERTIFICATE_VERIFY_FAILED" in ended.reason


def test_sigterm_ends_a_training_at_once(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.train(1, site.initial_model())
    process = site.start("train", "Endless")
    until(lambda: any(path.startswith("/blobs") for _, path in hub.requests))
    process.send_signal(signal.SIGTERM)
    assert site.end(process).code == 128 + signal.SIGTERM
    assert not hub.failures


def test_a_site_survives_a_restart_of_the_aggregator(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    model = site.initial_model()
    process = site.start("train")
    until(lambda: any(path.endswith("/next") for _, path in hub.requests))
    port = int(hub.url.rsplit(":", 1)[1])
    ca, key = hub.ca.read_bytes(), (hub.folder / "tls.key").read_bytes()
    hub.close()
    until(lambda: "trying again" in (site.folder / "log").read_text() or process.poll() is not None)
    assert process.poll() is None
    again = Hub(tmp_path / "again", port, (ca, key))
    again.train(1, model)
    again.finish()
    ended = site.end(process)
    again.close()
    assert ended.code == 0, ended.log
    assert len(again.updates) == 1
