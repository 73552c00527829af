"""Policy: Jobs that are complete without what they were made for, whatever the user's image did (sys.exit(0), say).

A training Job lives as long as the FederatedJob, or with lifetime Round until its site's update is in. The init Job
leaves a model. A complete Job is looked at again after a grace, by which everybody who knows better has said so.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from fedoperator.decide import pending
from fedoperator.decide.facts import Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.scene import Scene
from fedoperator.decide.view import JobView

GRACE = timedelta(seconds=60)  # for the aggregator's word (an update, an outcome, a model) to reach the status
_OWES = frozenset({"Training", "Waiting"})  # states of a site that has sent no update in this attempt


def _settled(scene: Scene, job: JobView) -> bool:
    return job.complete and job.completed is not None and scene.now >= job.completed + GRACE


def training(scene: Scene, client: str) -> Trouble | None:
    """That a site's training Job ended well and the site still owes its update."""
    job = scene.job_of(client)
    if job is None or scene.status.outcome is not None or not _settled(scene, job) or not _owes(scene, job):
        return None
    message = (
        f"{job.kind} {job.name} is complete, but the site's update is missing: the task's code may have ended the "
        f"process, as sys.exit() does (mend it, then delete {job.kind} {job.name} to run the site again)"
    )
    return Trouble(Reason.ENDED_EARLY, clipped(message))


def _owes(scene: Scene, job: JobView) -> bool:
    if not job.turn:
        return True
    states = {entry.name: entry.state for entry in scene.status.clients or ()}
    plan = scene.status.round
    at_training = plan is not None and plan.step == "Train" and job.turn == scene.turn.name
    return at_training and states.get(job.client) in _OWES


def _init_since(scene: Scene) -> tuple[JobView, datetime] | None:
    """The init Job that is complete, and since when a running aggregator has looked for its model in vain."""
    if scene.status.model is not None or scene.aggregator_ready or scene.spec.suspend:
        return None
    done = next((job for job in scene.init_jobs if job.complete and job.completed), None)
    looks = [p for p in scene.aggregator_pods if p.phase == "Running" and p.running_since and not p.deleting]
    if done is None or done.completed is None or not looks:
        return None
    return done, max(done.completed, *(pod.running_since for pod in looks if pod.running_since))


def init(scene: Scene) -> Trouble | None:
    """That the init Job is complete and there is no model. Overdue: for longer than spec.pendingDeadline."""
    found = _init_since(scene)
    if found is None or scene.now < found[1] + GRACE:
        return None
    job, since = found
    message = (
        f"Job {job.name} is complete, but left no model: the task's code may have ended the process, as sys.exit() "
        f"does; see kubectl logs job/{job.name}, mend the task and create the job anew"
    )
    overdue = scene.now >= since + max(GRACE, pending.deadline(scene))
    return Trouble(Reason.INIT_MODEL_MISSING, clipped(message), overdue=overdue)


def due(scene: Scene) -> Iterator[datetime]:
    """When a complete Job is looked at again by the clock alone."""
    yield from (job.completed + GRACE for job in scene.training_jobs if job.complete and job.completed)
    if found := _init_since(scene):
        yield found[1] + GRACE
        yield found[1] + max(GRACE, pending.deadline(scene))
