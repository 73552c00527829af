"""Policy: how a job ends, and what is cleaned up then. The first reason found is kept for good.

The aggregator's outcome comes before the operator's own reasons to fail. After an outcome the aggregator stays
until every training Job has heard of it (at most 60 s); after a failure that the operator found it stops at once.
"""

from datetime import datetime, timedelta

from fedapi import names
from fedapi.crd.fields import find
from fedoperator.decide import early, failures, lifetime, pending, restoring
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Ending, clipped, instant
from fedoperator.decide.reasons import ConditionType, Reason
from fedoperator.decide.view import PodView, dig

GRACE = timedelta(seconds=60)  # for the sites to hear that training is over


def _recorded(context: JobContext) -> Ending | None:
    for type_ in (ConditionType.COMPLETE, ConditionType.FAILED):
        found = find(context.status.conditions, type_)
        if found is not None and found.status == "True":
            time = instant(context.status.completion_time or found.last_transition_time)
            return Ending(
                complete=type_ == ConditionType.COMPLETE,
                reason=found.reason,
                message=found.message,
                time=time,
                by_aggregator=context.status.outcome is not None,
                recorded=True,
            )
    return None


def _outcome(context: JobContext) -> Ending | None:
    outcome = context.status.outcome
    if outcome is None:
        return None
    complete = outcome.result == "Succeeded"
    reason = outcome.reason or (Reason.COMPLETED if complete else Reason.FAILED)
    return Ending(complete, reason, outcome.message, instant(outcome.time), by_aggregator=True)


def _failed(context: JobContext, reason: str, message: str) -> Ending:
    return Ending(complete=False, reason=reason, message=clipped(message), time=context.now, by_aggregator=False)


def _init_failed(context: JobContext) -> Ending | None:
    if context.initialized:
        return None
    name = context.wanted_init["metadata"]["name"]
    jobs = [job for job in context.init_jobs if job.name == name]
    found = failures.job_failure(context, jobs[0], Reason.INIT_FAILED) if jobs else None
    return _failed(context, found.reason, f"the init Job failed: {found.message}") if found else None


def _restore_failed(context: JobContext) -> Ending | None:
    found = restoring.failure(context)
    return _failed(context, found.reason, f"the restore Job failed: {found.message}") if found else None


def _no_sites_left(context: JobContext) -> Ending | None:
    """Every site that trains failed for good. A barred one may come back: while there is one, nothing is over."""
    found = [(site, failures.site_failure(context, site.name)) for site in context.trainees]
    broken = [(site.name, trouble) for site, trouble in found if trouble and not site.barred]
    if not broken or len(broken) < len(found):
        return None
    name, first = broken[0]
    return _failed(
        context, Reason.NO_SITES_LEFT, f"all {len(broken)} sites failed; {name}: {first.reason}: {first.message}"
    )


def _never_starts(context: JobContext) -> Ending | None:
    """The aggregator or the init Job cannot get its image, for longer than the pending deadline, and there is no model.

    A job that has one is worth waiting for: Progressing says what is wrong.
    """
    if context.status.model is not None:
        return None
    init = () if context.initialized else tuple(pod for job in context.init_jobs for pod in context.pods_of(job.name))
    pods: tuple[PodView, ...] = (*context.aggregator_pods, *init, *context.pods.get(names.ROLE_RESTORE, ()))
    found = [t for t in (pending.trouble(context, pod) for pod in pods) if t and t.fatal and t.overdue]
    return _failed(context, found[0].reason, found[0].message) if found else None


def _no_model(context: JobContext) -> Ending | None:
    """The init Job is complete without a model, for longer than the pending deadline: nobody makes one any more."""
    found = early.init(context)
    return _failed(context, found.reason, found.message) if found and found.overdue else None


def ending(context: JobContext) -> Ending | None:
    """Whether and how the job has ended."""
    facts = (
        _recorded, _outcome, _init_failed, _restore_failed, _no_sites_left, _never_starts, _no_model,
        lifetime.deadline_exceeded,
    )  # fmt: skip
    return next((found for fact in facts if (found := fact(context))), None)


def stops_at(context: JobContext, end: Ending) -> datetime | None:
    """When the aggregator may stop: None means now."""
    last = end.time + GRACE
    waits = end.by_aggregator and any(job.running for job in context.training_jobs) and context.now < last
    return last if waits else None


def scaled_down(context: JobContext) -> bool:
    """Whether there is no aggregator left to stop."""
    return context.deployment is None or dig(context.deployment, "spec", "replicas") == 0
