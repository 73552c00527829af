"""Create, verify and restore as a cluster runs them, beside the real aggregator: the restored job ends with the undisturbed model."""

import json
import shutil

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.layout import Layout
from fedbackup import manifest
from fedbackup.manifest import Evidence
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import JobFolder, config
from tests.integration.fedbackup.backups import CLIENTS, NEW, Backups, finished, trained

ACCURACY = 0.6  # what the scripted sites record of round 1, the newest that is measured when round 2 is committed


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Two of four rounds."""
    return trained(tmp_path_factory.mktemp("job"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    return finished(JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS, rounds=4)))


@pytest.fixture
def backups(tmp_path):
    return Backups(tmp_path)


def new_job(folder) -> JobFolder:
    return JobFolder(folder / "new", config(CLIENTS, rounds=4, uid=NEW), model=None)


def test_a_restored_job_goes_on(job, backups, undisturbed, tmp_path):
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    body = {"kind": "FederatedJob", "metadata": {"name": "job"}, "spec": {"seed": 7}}
    site = "kind: FLClient\nmetadata: {name: a}\n---\nkind: FLClient\nmetadata: {name: stranger}\n"
    (manifests / "job.json").write_text(json.dumps(body))
    (manifests / "sites.yaml").write_text(site)
    assert backups.run("create", job, FEDLOOM_BACKUP_OBJECTS=f"file:{manifests}")[0] == Exit.OK
    made = backups.facts()
    assert made["round"] == 2
    found = backups.of(job).newest()
    assert made["object"] == found.key
    assert made["bytes"] == found.manifest.bytes > 0
    assert [e.path for e in found.manifest.entries if e.path.startswith("api/")] == [
        "api/federatedjobs/job.json",
        "api/flclients/a.json",
    ]
    new = new_job(tmp_path)
    env = {names.ENV_RESTORE_FROM: "lab/job", names.ENV_BACKUP_PUBLIC_KEY: made["publicKey"], names.ENV_ROUNDS: "4"}
    assert backups.run("restore", new, **env)[0] == Exit.OK
    code, log = backups.run("restore", new, **env)
    assert (code, "restored before" in log) == (Exit.OK, True), "a Job's pod may run twice"
    assert finished(new) == undisturbed
    assert [commit.round for commit in new.commits()] == [0, 1, 2, 3, 4]
    assert len({commit.job_uid for commit in new.commits()}) == 2


def test_a_backup_is_proved_by_its_model(job, backups):
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.verify(job, ACCURACY + 0.03, FEDLOOM_BACKUP_TOLERANCE="0.05")[:2] == (Exit.OK, Exit.OK)
    facts = backups.facts()
    assert facts["verifiedObject"] == facts["object"]
    assert float(facts["restoreSeconds"]) > 0
    assert "failures" not in facts
    data = open_store(backups.place).get(facts["evidence"])
    proof = manifest.opened(Evidence, facts["evidence"], data, facts["publicKey"])
    assert (proof.result, proof.metric, proof.recorded, proof.round) == ("Verified", "accuracy", ACCURACY, 1)
    assert proof.measured == pytest.approx(ACCURACY + 0.03)
    assert proof.tensors == 2
    assert not list((backups.folder / "verify").glob("restored-*")), "the throw-away place is thrown away"


def test_without_a_verification_set_the_digests_count(job, backups):
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.run("verify", job)[0] == Exit.OK
    _, proof = next(backups.of(job).evidence())
    assert (proof.result, proof.measured) == ("Verified", None)
    assert "by digests alone" in proof.message


@pytest.mark.parametrize(
    ("accuracy", "data", "code", "reason"),
    [
        (0.9, None, Exit.OK, "MetricDiffers"),
        (float("nan"), None, Exit.OK, "EvaluationFailed"),
        (ACCURACY, "elsewhere", Exit.DATA_MISSING, "VerifySetMissing"),
    ],
)
def test_a_model_that_is_off_is_told(job, backups, tmp_path, accuracy, data, code, reason):
    assert backups.run("create", job)[0] == Exit.OK
    folder = tmp_path / data if data else None
    found, evaluated, _ = backups.verify(job, accuracy, folder, FEDLOOM_BACKUP_TOLERANCE="0.05")
    assert (found, evaluated) == (Exit.NOT_RESTORABLE, code)
    (failure,) = backups.facts()["failures"]
    assert (failure["step"], failure["reason"]) == ("Verify", reason)
    key, proof = next(backups.of(job).evidence())
    assert (proof.result, proof.reason) == ("Failed", reason)
    assert key in failure["message"]
    assert "verifiedTime" not in backups.facts()
    assert backups.verify(job, ACCURACY, FEDLOOM_BACKUP_TOLERANCE="0.05")[0] == Exit.OK
    assert "failures" not in backups.facts(), "a success takes it back"


def test_a_damaged_backup_fails_before_the_task_is_asked(job, backups):
    assert backups.run("create", job)[0] == Exit.OK
    model = next((backups.folder / "destination" / "backups" / "objects").rglob(_model(backups, job)))
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    found, evaluated, log = backups.verify(job, ACCURACY)
    assert (found, evaluated) == (Exit.NOT_RESTORABLE, Exit.OK), "the task's container ends by itself"
    assert model.name in log
    assert backups.facts()["failures"][0]["reason"] == "BackupDamaged"
    assert backups.run("create", job)[0] == Exit.OK
    assert backups.of(job).newest().manifest.new_bytes == len(data), "the next backup mends it"
    assert backups.verify(job, ACCURACY)[0] == Exit.OK


def _model(backups: Backups, job: JobFolder) -> str:
    entries = backups.of(job).newest().manifest.entries
    return next(entry.sha256 for entry in entries if entry.path.startswith("models/000001-"))


def test_an_empty_store_is_no_backup(backups, tmp_path):
    empty = JobFolder(tmp_path / "empty", config(CLIENTS), model=None)
    code, log = backups.run("create", empty)
    assert code == Exit.OK, "a schedule may come before the first commit: no Job fails for that"
    assert "nothing to back up yet" in log
    code, evaluated, log = backups.verify(empty, ACCURACY)
    assert (code, evaluated) == (Exit.OK, Exit.OK)
    assert "nothing to verify yet" in log
    assert not (tmp_path / "facts.json").exists(), "nothing is told of what was not made"
    assert list(open_store(backups.place).keys("backups/")) == []


def test_a_store_that_is_empty_once_there_was_a_backup_is_a_failure(job, backups, tmp_path):
    assert backups.run("create", job)[0] == Exit.OK
    code, log = backups.run("create", JobFolder(tmp_path / "empty", config(CLIENTS), model=None))
    assert code == Exit.NOT_BACKED_UP
    assert "nothing was archived" in log
    assert backups.facts()["failures"][0]["reason"] == "NothingCommitted"
    assert "nothing was archived" in (tmp_path / "termination.log").read_text()
    assert len(backups.of(job).names()) == 1


def test_backups_that_were_made_and_are_gone_are_no_beginning(job, backups):
    assert backups.run("create", job)[0] == Exit.OK
    shutil.rmtree(backups.place)
    assert backups.run("verify", job)[0] == Exit.BAD_SETTINGS
    assert backups.facts()["failures"][0]["reason"] == "NoBackup"


def test_a_restore_into_a_store_in_use_is_refused(job, backups, tmp_path):
    assert backups.run("create", job)[0] == Exit.OK
    new = new_job(tmp_path)
    store = open_store(str(new.root / "store"))
    store.put_once(Layout("lab", "job", NEW).record(1, 1, 1, "plan.json"), b"{}")
    code, log = backups.run("restore", new, FEDLOOM_RESTORE_FROM="lab/job")
    assert code == Exit.BAD_SETTINGS
    assert "not empty" in log
    code, log = backups.run("restore", new, FEDLOOM_RESTORE_FROM="lab/nobody")
    assert code == Exit.BAD_SETTINGS
    assert f"lab/job-{job.config.uid}" in log, "it says which there are"
    code, log = backups.run("restore", new, FEDLOOM_RESTORE_FROM="lab/job", FEDLOOM_BACKUP_PUBLIC_KEY="0" * 64)
    assert code == Exit.NOT_RESTORABLE
    assert "somebody else made it" in log
