"""Policy: what `.status.sites` says. One entry per site: its Job, its pods, and the reason when they do not all run."""

from dataclasses import replace

from fedapi.crd.job_status import MAX_LISTED, SiteStatus
from fedoperator.decide import early, failures, pending, podless, refused
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Trouble, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.replacement import busy, waits
from fedoperator.decide.sites import Site
from fedoperator.decide.view import JobView
from fedoperator.desired.pool import Shape

# Reasons that are part of a normal life: listed after those that want attention.
CALM = frozenset(
    {
        "", Reason.AWAITING_AGGREGATOR, Reason.AWAITING_QUEUE, Reason.PAUSED, Reason.STARTING, Reason.REPLACING,
        Reason.REPLACED_NEXT_ROUND, Reason.SUSPEND_REQUESTED, Reason.FINISHED, Reason.NOT_SELECTED, Reason.ROUND_DONE,
        Reason.RING_INCOMPLETE,
    }
)  # fmt: skip


_JOBSET_WAY_OUT = (
    "several TPU slices of several hosts each need a JobSet, and this cluster has none: "
    "install JobSet (jobset.sigs.k8s.io) and restart the operator, or give the pool one slice"
)


def _resting(context: JobContext, job: JobView) -> Trouble | None:
    rest = failures.rest(context, job)
    if rest is None:
        return None
    last = failures.last_failure(context, job)
    why = f"; the last: {last.reason}: {last.message}" if last else ""
    return Trouble(Reason.TOO_MANY_FAILURES, clipped(f"{rest.failures} failed pods, resting until the next round{why}"))


def _suspended(context: JobContext, site: Site, job: JobView) -> Trouble | None:
    if not job.suspended:
        return None
    if job.queued:
        return Trouble(Reason.AWAITING_QUEUE, "")
    if context.spec.suspend:
        return Trouble(Reason.SUSPEND_REQUESTED, "")
    if site.barred:
        return Trouble(site.barred, "")
    return Trouble(Reason.AWAITING_AGGREGATOR, "")


def _without_job(context: JobContext, site: Site) -> Trouble:
    """Why a site has no training Job."""
    if site.name in context.lacking_jobset:
        return Trouble(Reason.JOBSET_MISSING, _JOBSET_WAY_OUT)
    if waits(context, site.name):
        return Trouble(Reason.REPLACING, "")
    if context.spec.suspend:
        return Trouble(Reason.SUSPEND_REQUESTED, "")
    if site.name in context.wanted:
        return refused.training_job(context, site.name) or Trouble(Reason.STARTING, "")
    return Trouble(site.barred or (Reason.NOT_SELECTED if context.step.name else Reason.AWAITING_AGGREGATOR), "")


def trouble(context: JobContext, site: Site) -> Trouble | None:
    """Why a site is not running; None when it is."""
    if busy(context, site.name):
        return Trouble(Reason.REPLACED_NEXT_ROUND, "")
    job = context.job_of(site.name)
    if job is None:
        return _without_job(context, site)
    if found := early.training(context, site.name):
        return found
    if job.complete:
        return Trouble(Reason.ROUND_DONE if job.step else Reason.FINISHED, "")
    return (
        failures.site_failure(context, site.name)
        or _resting(context, job)
        or _suspended(context, site, job)
        or _ring(context, site, job)
    )


def _ring(context: JobContext, site: Site, job: JobView) -> Trouble | None:
    """What the pods of a Job that may run say together: nothing when all of them run, none having failed last."""
    pods, shape = context.pods_of(job.name), Shape.of(site.client.spec.pool)
    up = [pod for pod in pods if pod.phase in ("Running", "Succeeded") and not pod.deleting]
    running = len({pod.worker for pod in up})  # one that has finished well before the others is not missing
    told = [found for found in (pending.trouble(context, pod) for pod in pods) if found]
    told.sort(key=lambda found: not found.fatal)  # an image error before missing capacity, which may end by itself
    why = next(iter(told), None) or podless.job(context, job.name) or failures.last_failure(context, job)
    if running >= shape.workers or shape.workers == 1:
        return why or (None if running else Trouble(Reason.STARTING, ""))
    if why is None and not running:
        return Trouble(Reason.STARTING, "")
    why = why or Trouble(Reason.STARTING, "the others are starting")
    reason = Reason.RING_INCOMPLETE if running >= shape.min_workers else why.reason
    return replace(why, reason=reason, message=clipped(f"{running} of {shape.workers} workers run: {why.message}"))


def _ready(context: JobContext, client: str) -> int:
    pods = (pod for job in context.jobs_of(client) for pod in context.pods_of(job.name))
    return sum(pod.ready and not pod.finished for pod in pods)


def _job_name(context: JobContext, client: str) -> str:
    current = context.job_of(client) or next(iter(context.jobs_of(client)), None)
    return current.name if current else ""


def listed(entries: list[SiteStatus]) -> list[SiteStatus]:
    """Those with trouble first, at most 100."""
    return sorted(entries, key=lambda entry: (entry.reason in CALM, entry.name))[:MAX_LISTED]


def site_status(context: JobContext) -> list[SiteStatus]:
    """`.status.sites` of a job under way."""
    entries = []
    for site in context.sites:
        why = trouble(context, site)
        entry = SiteStatus(
            name=site.name,
            job=_job_name(context, site.name),
            workers=context.workers(site.name),
            ready=_ready(context, site.name),
            reason=why.reason if why else "",
            message=why.message if why else "",
        )
        entries.append(entry)
    return listed(entries)


def final_site_status(context: JobContext) -> list[SiteStatus] | None:
    """`.status.sites` of a job that has ended: reasons stay as they were, though pods may be gone."""
    old = context.status.sites
    return None if old is None else [entry.model_copy(update={"ready": _ready(context, entry.name)}) for entry in old]
