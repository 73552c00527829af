"""Policy: what `.status.sites` says. One entry per site: its Job, its ready pods, and the reason when it is not running."""

from fedapi.crd.job_status import MAX_LISTED, SiteStatus
from fedoperator.decide import failures, pending
from fedoperator.decide.facts import Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.replacement import Replacement
from fedoperator.decide.scene import Scene
from fedoperator.decide.sites import Site
from fedoperator.decide.view import JobView

# Reasons that are part of a normal life: listed after those that want attention.
CALM = frozenset(
    {
        "", Reason.AWAITING_AGGREGATOR, Reason.AWAITING_QUEUE, Reason.PAUSED, Reason.STARTING, Reason.REPLACING,
        Reason.REPLACED_NEXT_ROUND, Reason.SUSPEND_REQUESTED, Reason.FINISHED,
    }
)  # fmt: skip


def _resting(scene: Scene, job: JobView) -> Trouble | None:
    rest = failures.rest(scene, job)
    if rest is None:
        return None
    last = failures.last_failure(scene, job)
    why = f"; the last: {last.reason}: {last.message}" if last else ""
    return Trouble(Reason.TOO_MANY_FAILURES, clipped(f"{rest.failures} failed pods, resting until the next round{why}"))


def _suspended(scene: Scene, site: Site, job: JobView) -> Trouble | None:
    if not job.suspended:
        return None
    if job.queued:
        return Trouble(Reason.AWAITING_QUEUE, "")
    if scene.spec.suspend:
        return Trouble(Reason.SUSPEND_REQUESTED, "")
    if site.barred:
        return Trouble(site.barred, "")
    return Trouble(Reason.AWAITING_AGGREGATOR, "")


def _not_starting(scene: Scene, job: JobView) -> Trouble | None:
    found = (pending.trouble(scene, pod) for pod in scene.pods_of(job.name))
    return next((trouble for trouble in found if trouble), None)


def trouble(scene: Scene, site: Site, jobs: Replacement) -> Trouble | None:
    """Why a site is not running; None when it is."""
    if site.name in jobs.busy:
        return Trouble(Reason.REPLACED_NEXT_ROUND, "")
    job = scene.job_of(site.name)
    if job is None:
        return Trouble(Reason.REPLACING if site.name in jobs.waiting else Reason.STARTING, "")
    if job.complete:
        return Trouble(Reason.FINISHED, "")
    found = failures.site_failure(scene, site.name) or _resting(scene, job) or _suspended(scene, site, job)
    found = found or _not_starting(scene, job) or failures.last_failure(scene, job)
    running = any(pod.phase == "Running" for pod in scene.pods_of(job.name))
    return found or (None if running else Trouble(Reason.STARTING, ""))


def _ready(scene: Scene, client: str) -> int:
    names = {job.name for job in scene.jobs_of(client)}
    return sum(pod.ready and pod.job in names and not pod.finished for pod in scene.pods)


def _job_name(scene: Scene, client: str) -> str:
    current = scene.job_of(client) or next(iter(scene.jobs_of(client)), None)
    return current.name if current else ""


def listed(entries: list[SiteStatus]) -> list[SiteStatus]:
    """Those with trouble first, at most 100."""
    return sorted(entries, key=lambda entry: (entry.reason in CALM, entry.name))[:MAX_LISTED]


def site_status(scene: Scene, jobs: Replacement) -> list[SiteStatus]:
    """`.status.sites` of a job under way."""
    entries = []
    for site in scene.sites:
        why = trouble(scene, site, jobs)
        entry = SiteStatus(
            name=site.name,
            job=_job_name(scene, site.name),
            ready=_ready(scene, site.name),
            reason=why.reason if why else "",
            message=why.message if why else "",
        )
        entries.append(entry)
    return listed(entries)


def final_site_status(scene: Scene) -> list[SiteStatus] | None:
    """`.status.sites` of a job that has ended: reasons stay as they were, though pods may be gone."""
    old = scene.status.sites
    return None if old is None else [entry.model_copy(update={"ready": _ready(scene, entry.name)}) for entry in old]
