"""A job that begins with a backup: the aggregator starts when it is in the store, and failures are told."""

from fedapi import names
from fedoperator.decide.job import decide
from tests.unit.fedoperator import samples as s

SPEC = {"restoreFrom": {"source": {"s3": {"bucket": "copies"}}, "backup": "research/lost"}}


def of_role(decision, role):
    return [o for o in decision.objects if o["metadata"]["labels"].get(names.LABEL_ROLE) == role]


def job_of(decision):
    (job,) = (o for o in of_role(decision, names.ROLE_RESTORE) if o["kind"] == "Job")
    return job


def replicas(decision):
    return next(o for o in decision.objects if o["kind"] == "Deployment")["spec"]["replicas"]


def live(**status):
    made = dict(job_of(decide(s.observe(s.job(**SPEC)), s.NOW)))
    return {s.key(made): made | {"spec": made["spec"] | {"suspend": False}, "status": status}}, made["metadata"]["name"]


def test_the_restore_comes_first_and_no_initial_model_is_made():
    decision = decide(s.observe(s.job(**SPEC)), s.NOW)
    assert job_of(decision)["metadata"]["name"].startswith("heart-restore-")
    assert replicas(decision) == 0
    assert of_role(decision, names.ROLE_INIT) == []
    assert s.condition(decision, "Restored")[:2] == ("False", "Starting")
    assert s.condition(decision, "Progressing")[:2] == ("True", "Restoring")
    assert s.condition(decision, "AggregatorReady")[:2] == ("False", "Restoring")


def test_it_is_let_go_though_there_is_no_aggregator():
    children, name = live()
    (key,) = children
    children[key]["spec"]["suspend"] = True
    assert decide(s.observe(s.job(**SPEC), children=children), s.NOW).suspend == {name: False}


def test_while_it_copies_the_condition_names_its_job():
    children, name = live()
    decision = decide(s.observe(s.job(**SPEC), children=children), s.NOW)
    status, reason, message = s.condition(decision, "Restored")
    assert (status, reason) == ("False", "Restoring")
    assert f"kubectl logs job/{name}" in message
    assert decision.status["phase"] == "Initializing"


def test_when_it_is_done_the_aggregator_starts_and_the_job_stays_as_the_record():
    children, name = live(conditions=[{"type": "Complete", "status": "True"}])
    decision = decide(s.observe(s.job(**SPEC | {"rounds": 30}), children=children), s.NOW)
    assert replicas(decision) == 1
    assert of_role(decision, names.ROLE_RESTORE) == [], "a changed wish restores nothing any more"
    assert name not in {key.name for key in decision.delete}
    assert s.condition(decision, "Restored")[:2] == ("True", "Restored")


def test_an_aggregator_with_a_model_needs_no_record():
    decision = decide(s.observe(s.job(s.in_round(), **SPEC)), s.NOW)
    assert (replicas(decision), of_role(decision, names.ROLE_RESTORE)) == (1, [])


def test_before_it_is_done_a_changed_wish_replaces_the_job():
    children, name = live()
    changed = s.observe(s.job(**SPEC | {"rounds": 30}), children=children)
    decision = decide(changed, s.NOW)
    assert name in {key.name for key in decision.delete}
    assert [o for o in of_role(decision, names.ROLE_RESTORE) if o["kind"] == "Job"] == [], "one after the other"


def test_a_backup_that_cannot_be_restored_ends_the_job_with_the_words_of_its_process():
    failed = {"type": "Failed", "status": "True", "message": "PodFailurePolicy", "lastTransitionTime": s.ago(30)}
    children, name = live(conditions=[failed])
    words = "models/000003.safetensors: 1 byte is not what was written"
    pod = s.ended(names.ROLE_RESTORE, name, "", 26, words)
    decision = decide(s.observe(s.job(**SPEC), children=children, pods=(pod,)), s.NOW)
    status, reason, message = s.condition(decision, "Failed")
    assert (status, reason) == ("True", "NotRestorable")
    assert words in message
    assert s.condition(decision, "Restored")[0] == "False"


def test_a_pod_that_does_not_start_is_told():
    children, name = live()
    pod = s.waiting(names.ROLE_RESTORE, name, "", "ErrImagePull", "no such image", created_s_ago=30)
    decision = decide(s.observe(s.job(**SPEC), children=children, pods=(pod,)), s.NOW)
    assert s.condition(decision, "Restored")[:2] == ("False", "ImageError")


def test_a_suspended_job_restores_when_it_goes_on():
    assert of_role(decide(s.observe(s.job(suspend=True, **SPEC)), s.NOW), names.ROLE_RESTORE) == []


def test_once_restored_backups_no_longer_act_as_the_source_knows_them():
    def role_of(name):
        return f"arn:aws:iam::123456789012:role/{name}"

    spec = {
        "storage": {"s3": {"bucket": "models", "roleARN": role_of("own")}},
        "backup": {"schedule": "@daily", "destination": {"s3": {"bucket": "copies"}}},
        "restoreFrom": {"source": {"s3": {"bucket": "lost", "roleARN": role_of("lost")}}, "backup": "research/lost"},
    }

    def identity(status):
        made = decide(s.observe(s.job(status, **spec)), s.NOW).objects
        (account,) = (o for o in made if o["kind"] == "ServiceAccount" and "backup" in o["metadata"]["name"])
        return account["metadata"]["annotations"][names.ANNOTATION_AWS_ROLE]

    assert identity({}) == role_of("lost")
    assert identity(s.in_round()) == role_of("own")
