"""BackupHealthy: a backup counts when it was restored, and only as long as its schedule says so."""

from datetime import timedelta

import pytest

from fedapi import names
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import stamp
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

VERIFY = {"schedule": "0 * * * *"}
BACKUP = {"schedule": "0 * * * *", "verify": VERIFY}
GOOD = {
    "lastTime": s.ago(600), "object": "a/manifest.json", "round": 20, "bytes": 1000, "previousBytes": 900,
    "verifiedTime": s.ago(300), "verifiedObject": "a/manifest.json", "restoreSeconds": "12", "evidence": "a/e.json",
}  # fmt: skip
FAILURE = {"reason": "NotBackedUp", "message": "the store is empty", "time": s.ago(60)}


def since(when):
    """The status of a job that has had backups since then."""
    return s.in_round() | {"backupsSince": when}


def healthy(told=None, backup=None, now=s.NOW, **more):
    status = since(s.ago(86400)) | ({"backup": told} if told is not None else {}) | more.pop("status", {})
    decision = decide(s.observe(s.job(status, backup=backup or BACKUP, **more.pop("spec", {})), **more), now)
    return s.condition(decision, "BackupHealthy")


def test_a_backup_that_was_restored_lately_is_healthy():
    status, reason, message = healthy(GOOD)
    assert (status, reason) == ("True", "BackupVerified")
    assert "round 20" in message
    assert "restored in 12 s" in message


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"verifiedTime": None}, "NeverVerified", "no backup has been restored yet"),
        ({"bytes": 0}, "BackupEmpty", "holds nothing"),
        ({"bytes": None}, "BackupEmpty", "holds nothing"),
        ({"bytes": 400}, "BackupShrunken", "400 bytes, and the one before held 900"),
        ({"lastTime": s.ago(3 * 3600)}, "BackupOverdue", "the next was due before"),
        ({"verifiedTime": s.ago(3 * 3600)}, "VerificationOverdue", "the last verification is of"),
        ({"failures": [FAILURE | {"step": "Create"}]}, "BackupFailed", "the store is empty"),
        ({"failures": [FAILURE | {"step": "Verify"}]}, "VerificationFailed", "the store is empty"),
    ],
)
def test_what_makes_it_unhealthy(change, reason, words):
    told = {key: value for key, value in (GOOD | change).items() if value is not None}
    status, found, message = healthy(told)
    assert (status, found) == ("False", reason)
    assert words in message


def test_half_of_what_was_there_is_not_shrunken():
    assert healthy(GOOD | {"bytes": 450})[1] == "BackupVerified"


def test_a_large_restore_has_more_time():
    late = GOOD | {"verifiedTime": s.ago(3 * 3600), "restoreSeconds": "7200"}
    assert healthy(late)[1] == "BackupVerified"


def test_without_verify_nothing_is_ever_proved():
    status, reason, message = healthy(GOOD, backup={"schedule": "0 * * * *"})
    assert (status, reason) == ("False", "NeverVerified")
    assert "set spec.backup.verify" in message


def test_none_yet_is_early_and_then_late():
    asked = since(stamp(s.NOW))
    assert healthy(now=s.NOW + timedelta(minutes=30), status=asked)[1] == "NoBackupYet"
    assert healthy(now=s.NOW + timedelta(hours=2, minutes=1), status=asked)[1] == "BackupOverdue"


def test_rounds_that_outrun_the_backups_are_told():
    backup = {"everyRounds": 5, "verify": VERIFY}
    told = since(s.ago(3601)) | {"round": s.in_round()["round"] | {"committed": 30}}
    assert healthy(GOOD | {"round": 20}, backup, status=told)[1] == "BackupOverdue"
    assert healthy(GOOD | {"round": 21}, backup, status=told)[1] == "BackupVerified"
    assert healthy(GOOD | {"round": 20}, backup, status=told | {"backupsSince": s.ago(60)})[1] == "BackupVerified"


@pytest.mark.parametrize("spec", [{"suspend": True}, {}])
def test_nothing_is_said_while_it_is_suspended(spec):
    found = healthy(GOOD, backup=BACKUP if spec else BACKUP | {"suspend": True}, spec=spec)
    assert found[:2] == ("Unknown", "BackupSuspended")
    assert ("spec.suspend" if spec else "spec.backup.suspend") in found[2]


def failed_job(role, at=60):
    labels = {names.LABEL_JOB: "heart", names.LABEL_JOB_UID: s.UID, names.LABEL_ROLE: role}
    owner = {"kind": "FederatedJob", "apiVersion": names.API_VERSION, "name": "heart", "uid": s.UID, "controller": True}
    failed = {"type": "Failed", "status": "True", "lastTransitionTime": s.ago(at), "message": "BackoffLimitExceeded"}
    body = {
        "kind": "Job",
        "metadata": {"name": "run-1", "labels": labels, "ownerReferences": [owner]},
        "spec": {},
        "status": {"conditions": [failed]},
    }
    return {Key("Job", "run-1"): body}


@pytest.mark.parametrize(
    ("role", "reason"), [(names.ROLE_BACKUP, "BackupFailed"), (names.ROLE_VERIFY, "VerificationFailed")]
)
def test_a_job_whose_pod_could_not_write_the_status_tells_by_how_it_ended(role, reason):
    pod = s.ended(role, "run-1", "", 27, "the bucket refuses these credentials", at=60)
    status, found, message = healthy(GOOD, children=failed_job(role), pods=(pod,))
    assert (status, found) == ("False", reason)
    assert "StoreDenied" in message
    assert "refuses these credentials" in message


def test_a_later_success_outdates_a_failed_job():
    assert healthy(GOOD, children=failed_job(names.ROLE_BACKUP, at=3600))[1] == "BackupVerified"


def test_a_run_whose_pod_does_not_start_is_told_by_what_it_lacks():
    live = failed_job(names.ROLE_VERIFY)
    live[Key("Job", "run-1")]["status"] = {}
    volumes = ({"name": "data-rows", "persistentVolumeClaim": {"claimName": "sandbox"}},)
    message = 'persistentvolumeclaim "sandbox" not found'
    pod = s.unplaced(names.ROLE_VERIFY, "run-1", "", message, created_s_ago=3600, volumes=volumes)
    status, reason, message = healthy(GOOD, children=live, pods=(pod,))
    assert (status, reason) == ("False", "VerificationFailed")
    assert "PersistentVolumeClaim sandbox not found" in message


def test_it_is_looked_at_again_when_the_next_run_would_be_late():
    decision = decide(s.observe(s.job(s.in_round() | {"backup": GOOD}, backup=BACKUP)), s.NOW)
    assert decision.requeue_after is not None
    assert decision.requeue_after <= 2 * 3600


def events(before, after, backup=BACKUP):
    """Of the change from one status of the backup to another."""
    first = decide(s.observe(s.job(since(s.ago(3600)) | {"backup": before}, backup=backup)), s.NOW)
    told = since(s.ago(3600)) | {"backup": after, "conditions": first.status["conditions"]}
    return [e.reason for e in decide(s.observe(s.job(told, backup=backup)), s.NOW).events]


def test_changes_are_events_and_a_new_reason_is_one_too():
    broken = GOOD | {"failures": [FAILURE | {"step": "Create"}]}
    assert events(GOOD, broken) == ["BackupUnhealthy"]
    assert events(broken, broken) == []
    assert events(broken, GOOD | {"bytes": 0}) == ["BackupUnhealthy"]
    assert events(broken, GOOD) == ["BackupVerified"]


def test_there_is_no_condition_without_backup():
    conditions = decide(s.observe(s.job(s.in_round())), s.NOW).status["conditions"]
    assert "BackupHealthy" not in {c["type"] for c in conditions}


def decided(backup, since, now, **spec):
    """The status, and BackupHealthy's reason, of a job whose backups are of a week ago."""
    old = GOOD | {"lastTime": s.ago(7 * 86400), "verifiedTime": s.ago(7 * 86400)}
    status = s.in_round() | {"backup": old} | ({"backupsSince": since} if since else {})
    decision = decide(s.observe(s.job(status, backup=backup, **spec)), now)
    return decision.status.get("backupsSince"), s.condition(decision, "BackupHealthy")[1]


@pytest.mark.parametrize(("backup", "spec"), [(BACKUP | {"suspend": True}, {}), (BACKUP, {"suspend": True})])
def test_the_time_of_a_suspension_does_not_count(backup, spec):
    assert decided(backup, s.ago(3600), s.NOW, **spec) == (None, "BackupSuspended")
    let_go = stamp(s.NOW)
    assert decided(BACKUP, None, s.NOW) == (let_go, "BackupVerified")
    assert decided(BACKUP, let_go, s.NOW + timedelta(hours=1)) == (let_go, "BackupVerified")
    assert decided(BACKUP, let_go, s.NOW + timedelta(hours=2, minutes=1)) == (let_go, "BackupOverdue")


def test_of_a_job_that_nobody_acted_on_no_backup_is_late():
    decision = decide(s.observe(s.job({}, backup=BACKUP)), s.NOW + timedelta(days=3))
    assert "backupsSince" not in decision.status
    assert s.condition(decision, "BackupHealthy")[1] == "NoBackupYet"
