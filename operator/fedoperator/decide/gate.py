"""Policy: which Jobs run. Training Jobs are created suspended and let go when the aggregator is ready.

They are stopped again when the job is suspended or has ended, when the site is paused (not in mid-round) or rests.
An aggregator that restarts stops nobody. A Job that a queue admits is never touched. With training.lifetime Round a
Job that runs is at work on its round, and one of a paused site that has not started does not start.
"""

from collections.abc import Collection, Mapping

from fedapi import names
from fedoperator.decide.failures import rest
from fedoperator.decide.replacement import in_training
from fedoperator.decide.scene import Scene
from fedoperator.decide.view import JobView


def _training(scene: Scene, job: JobView) -> bool | None:
    """What `suspend` of a training Job should be; None: as it is."""
    site = next((site for site in scene.sites if site.name == job.client), None)
    if site is None:
        return None
    if site.barred and not scene.by_round:
        return None if in_training(scene, job) else True
    if rest(scene, job):
        return True
    if site.barred:
        return None
    return False if scene.aggregator_ready else None


def _wanted(scene: Scene, job: JobView) -> bool | None:
    if scene.spec.suspend:
        return True
    if job.role == names.ROLE_TRAINER:
        return _training(scene, job)
    return False if job.role == names.ROLE_INIT else None  # a label that was taken off comes back first


def gate(scene: Scene, deleted: Collection[str]) -> Mapping[str, bool]:
    """Job name -> spec.suspend, only where it has to change. `deleted`: Jobs that are deleted anyway."""
    jobs = [job for job in scene.jobs if not (job.finished or job.deleting or job.queued or job.name in deleted)]
    wanted = {job.name: _wanted(scene, job) for job in jobs}
    return {job.name: flag for job in jobs if (flag := wanted[job.name]) is not None and flag != job.suspended}


def closed(scene: Scene) -> Mapping[str, bool]:
    """The gate after the end: everything that still runs stops."""
    return {job.name: True for job in scene.jobs if job.running and not job.deleting and not job.queued}
