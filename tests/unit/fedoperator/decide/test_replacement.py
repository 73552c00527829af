"""Policy replacement: a changed template means a new Job, and a site never has pods of two."""

from dataclasses import replace

from fedapi import names
from fedapi.outcome import Exit
from fedoperator.decide.decision import Decision, Key
from fedoperator.decide.job import decide
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import secrets_of
from tests.unit.fedoperator import samples as s

TRAINER = names.ROLE_TRAINER


def _changed(
    state: str, pods: tuple[s.Json, ...] = (), age_s: float = 300, **meta: object
) -> tuple[Decision, str, str]:
    """The site berlin gets a GPU in mid-job, `age_s` after its round began."""
    status = s.in_round(berlin=state)
    status["round"]["startTime"] = s.ago(age_s)
    before = s.observe(s.job(status))
    children = s.live_children(before)
    old = s.job_name(before, "berlin")
    children[Key("Job", old)]["metadata"].update(meta)
    gpu = s.site("berlin", pool={"accelerator": "GPU", "resourceName": "nvidia.com/gpu", "count": 2})
    after = s.observe(before.job, (gpu, s.TWO_SITES[1]), children, pods)
    return decide(after, s.NOW), old, s.job_name(after, "berlin")


def _applied_jobs(decision: Decision) -> list[str]:
    return [o["metadata"]["name"] for o in decision.objects if o["kind"] == "Job"]


def test_a_changed_template_waits_for_the_round_to_end():
    decision, old, new = _changed("Training")
    assert old != new
    assert decision.delete == ()
    assert new not in _applied_jobs(decision)
    assert s.site_reasons(decision)["berlin"] == Reason.REPLACED_NEXT_ROUND


def test_then_the_old_job_is_deleted_before_the_new_one_is_made():
    decision, old, new = _changed("Accepted")
    assert decision.delete == (Key("Job", old),)
    assert new not in _applied_jobs(decision)
    going, _, _ = _changed("Accepted", deletionTimestamp=s.ago(1))
    assert going.delete == ()
    assert new not in _applied_jobs(going)


def test_a_round_that_has_just_begun_does_not_hold_a_changed_template_off():
    """A site that is last in every round is at rest for milliseconds between two: nobody may ever see it."""
    decision, old, new = _changed("Training", age_s=2)
    assert decision.delete == (Key("Job", old),)
    assert new not in _applied_jobs(decision)
    assert s.site_reasons(decision)["berlin"] == Reason.REPLACING


def test_pods_of_a_site_are_never_doubled():
    clients = (s.site("berlin", pool={"accelerator": "GPU", "resourceName": "amd.com/gpu", "count": 1}),)
    observed = s.observe(s.job(s.STARTED), clients)
    name = s.job_name(observed, "berlin")
    leftover = s.running(TRAINER, "heart-berlin-old", "berlin", meta={"deletionTimestamp": s.ago(1)})
    assert name not in _applied_jobs(decide(s.observe(observed.job, clients, pods=(leftover,)), s.NOW))
    gone = s.ended(TRAINER, "heart-berlin-old", "berlin", 0)
    assert name in _applied_jobs(decide(s.observe(observed.job, clients, pods=(gone,)), s.NOW))


def test_a_site_that_left_loses_its_job_after_its_round():
    children = s.live_children(s.observe())
    name = s.job_name(s.observe(), "lyon")
    for state, delete in (("Training", ()), ("Idle", (Key("Job", name),))):
        observed = s.observe(s.job(s.in_round(lyon=state)), s.TWO_SITES[:1], children)
        decision = decide(observed, s.NOW)
        assert decision.delete == delete
        assert decision.suspend == {}


def test_with_new_keys_all_of_a_job_starts_again_at_once_and_says_why():
    """Sites at work, too: their tokens are of no use to the aggregator that has the new keys."""
    job = s.job(s.in_round(berlin="Training", lyon="Training"))
    children = s.live_children(s.observe(job))
    renewed = replace(s.SETTINGS, keys_id="k2")
    decision = decide(s.observe(job, children=children, settings=renewed), s.NOW)
    assert {key.name for key in decision.delete} == {s.job_name(s.observe(job), name) for name in ("berlin", "lyon")}
    assert s.condition(decision, "Progressing")[:2] == ("True", Reason.KEYS_REPLACED)
    assert [e.reason for e in decision.events if e.type == "Warning"] == ["KeysReplaced"]
    requested = {request.name for request in decision.secrets}
    assert len(requested) == 4
    assert not requested & {request.name for request in decide(s.observe(job), s.NOW).secrets}
    template = next(o for o in decision.objects if o["kind"] == "Deployment")["spec"]["template"]
    assert set(secrets_of(template)) < requested
    after = s.live_children(s.observe(job, settings=renewed))
    settled = decide(s.observe(job, children=after, settings=renewed), s.NOW)
    assert s.condition(settled, "Progressing")[1] == Reason.TRAINING
    assert settled.delete == ()


SLICES = {"accelerator": "TPU", "tpu": {"type": "tpu-v5-lite-podslice", "topology": "4x4"}, "workers": 8}


def test_a_jobset_is_started_budgeted_and_replaced_like_a_job():
    clients = (s.site("berlin", pool=SLICES),)
    children = s.live_children(s.observe(clients=clients, jobset=True), suspended=True)
    name = s.job_name(s.observe(clients=clients, jobset=True), "berlin")
    status = s.in_round(berlin="Accepted")
    opened = decide(s.observe(s.job(status), clients, children, jobset=True), s.NOW)
    assert opened.suspend[name] is False
    changed = (s.site("berlin", pool=SLICES | {"nodeSelector": {"zone": "a"}}),)
    assert decide(s.observe(s.job(status), changed, children, jobset=True), s.NOW).delete == (Key("JobSet", name),)
    children[Key("JobSet", name)]["status"] = {"conditions": [{"type": "Failed", "status": "True", "message": "m"}]}
    dead = s.ended(TRAINER, f"{name}-slice-1", "berlin", Exit.COLLECTIVE_MISSING, "no Horovod here", worker=2)
    dead["metadata"]["labels"] |= {names.LABEL_JOBSET: name, names.LABEL_JOBSET_INDEX: "1"}
    dead["metadata"]["annotations"] = {names.ANNOTATION_SLICE_HOSTS: "4"}
    over = decide(s.observe(s.job(status), clients, children, (dead,), jobset=True), s.NOW)
    assert s.site_reasons(over)["berlin"] == "CollectiveMissing"
    assert s.site_messages(over)["berlin"].startswith("worker 6: no Horovod here")
