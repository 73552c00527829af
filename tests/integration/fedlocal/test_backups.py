"""Backups without a cluster: made by rounds and by the clock, verified in real processes, and restored into a new job."""

import json
import signal

from tests.integration.fedlocal.runs import JOB, SITES, Lab, finish, job, site
from tests.waiting import PATIENCE_S, until

SANDBOX = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "sandbox"},
    "data": {"rows.csv": "1,2\n"},
}
VERIFY = {
    "schedule": "* * * * *",
    "tolerance": "1000",  # the sandbox set of this task has little to do with its sites'
    "data": {"volumes": [{"name": "rows", "configMap": {"name": "sandbox"}}]},
}
HELD = [site(name, LAB_HOLD="3") for name in ("north", "south")]


def status(lab):
    return json.loads((lab.state / "job.json").read_text())["status"]


def condition(found, type_):
    return next(c for c in found["conditions"] if c["type"] == type_)


def claim(lab):
    return status(lab)["children"]["backupClaim"]


def again(lab, folder, name, **restore):
    """A new job that goes on from the backups of one whose store is lost."""
    source = {"source": {"persistentVolumeClaim": {"claimName": claim(lab)}}, "backup": f"default/{JOB}"}
    body = job(rounds=5, restoreFrom=source | restore)
    body["metadata"]["name"] = name
    made = Lab.of(folder, body, *SITES)
    (folder / "state").symlink_to(lab.folder / "state")
    return made


def test_a_backup_is_made_proved_while_the_job_trains_and_the_job_begins_anew_from_it(tmp_path):
    backup = {"everyRounds": 1, "verify": VERIFY, "keepLast": 3}
    lab = Lab.of(tmp_path / "lab", job(backup=backup), *HELD, SANDBOX)
    running = lab.start()
    verified = until(
        lambda: status(lab)["backup"].get("verifiedTime"), 3 * PATIENCE_S, not_yet=(OSError, KeyError, ValueError)
    )  # the next full minute, and two processes that load torch
    lab.go(3)
    code, output = finish(running)
    assert code == 0, output
    told = status(lab)
    assert told["backup"]["verifiedTime"] >= verified
    assert told["backup"]["round"] == 3, "the end of the job makes a backup due, too"
    assert condition(told, "BackupHealthy")["status"] == "True", told
    digest = lab.digest()

    key = told["backup"]["publicKey"]
    refused = again(lab, tmp_path / "refused", "other", publicKey="0" * 64)
    code, output = refused.run()
    assert code != 0
    assert "NotRestorable" in output, output

    anew = again(lab, tmp_path / "anew", JOB, publicKey=key, round=2)
    for path in (lab.state / "claims").glob(f"{JOB}-store-*"):
        path.rename(path.with_name("lost"))  # what was not backed up is not used
    code, output = anew.run("--fresh")  # forgets the job, and keeps its backups
    assert code == 0, output
    assert anew.result()["rounds"] == 5
    assert digest != anew.digest()


def test_a_run_that_is_stopped_leaves_no_backup_behind(tmp_path):
    lab = Lab.of(tmp_path, job(backup={"everyRounds": 1}), *HELD)
    running = lab.start()
    until(lambda: status(lab)["backup"]["round"] == 2, not_yet=(OSError, KeyError, ValueError))
    running.send_signal(signal.SIGINT)
    code, output = finish(running)
    assert code == 130, output
    lab.go(3)
    code, output = lab.run()
    assert code == 0, output
    assert status(lab)["backup"]["round"] == 3


def test_a_secret_that_no_manifest_holds_is_named_before_anything_starts(tmp_path):
    storage = {"s3": {"bucket": "models", "credentialsSecretRef": {"name": "fedloom-store-a"}}}
    code, output = Lab.of(tmp_path, job(storage=storage), *SITES).run()
    assert code == 2
    assert "spec.storage.s3.credentialsSecretRef.name" in output
    assert "no Secret of that name is in" in output


def test_a_secret_of_a_manifest_is_where_the_hub_reads_it_and_is_not_shown(tmp_path):
    place = {"bucket": "models", "region": "r", "endpoint": "https://127.0.0.1:1"}
    storage = {"s3": place | {"credentialsSecretRef": {"name": "fedloom-store-a"}}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fedloom-store-a"}}
    secret["stringData"] = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "very-secret"}
    lab = Lab.of(tmp_path, job(storage=storage, suspend=True), *SITES, secret)
    _, output = lab.run()
    assert "lab is suspended" in output, output
    assert (lab.state / "secrets" / "fedloom-store-a" / "AWS_ACCESS_KEY_ID").read_text() == "id"
    assert "very-secret" not in output
