"""The restore Job: what it is told, and that it speaks with no API."""

from fedapi import names
from fedoperator.desired.init_job import HubImage
from fedoperator.desired.restore_job import restore_job
from tests.unit.fedoperator import samples as s

SOURCE = {"persistentVolumeClaim": {"claimName": "lost-backup-store-01234567"}}
RESTORE = {"source": SOURCE, "backup": "research/lost", "round": 0, "publicKey": "0" * 64}


def made(**spec):
    job = s.job(**{"restoreFrom": RESTORE} | spec)
    return restore_job(job, job.spec.restore_from, HubImage("hub:1", "IfNotPresent"), "")


def test_it_is_told_what_to_restore_and_reads_the_backups_only():
    (container,) = made()["spec"]["template"]["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    told = (names.ENV_RESTORE_FROM, names.ENV_RESTORE_ROUND, names.ENV_BACKUP_PUBLIC_KEY, names.ENV_ROUNDS)
    assert [env[name] for name in told] == ["research/lost", "0", "0" * 64, "20"]
    mounts = {mount["name"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {"credentials": True, "store": False, "backup": True, "tmp": False}
    assert made()["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_what_is_not_asked_for_is_not_said():
    (container,) = made(restoreFrom={"source": SOURCE, "backup": "a/b"})["spec"]["template"]["spec"]["containers"]
    said = {entry["name"] for entry in container["env"]}
    assert not {names.ENV_RESTORE_ROUND, names.ENV_BACKUP_PUBLIC_KEY} & said


def test_another_wish_is_another_job():
    assert made()["metadata"]["name"] != made(rounds=30)["metadata"]["name"]


def test_a_store_that_is_away_for_minutes_does_not_end_the_job():
    waits_s = [10 * 2**failure for failure in range(made()["spec"]["backoffLimit"])]  # as the Job controller backs off
    assert sum(waits_s) >= 600
