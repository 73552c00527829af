"""Policy: the sites that the aggregator is told of, and whether it waits for each. Carried by its ConfigMap."""

from fedapi.jsonvalue import JsonView
from fedapi.wire.job import RosterEntry
from fedoperator.decide import early
from fedoperator.decide.context import JobContext
from fedoperator.decide.failures import rest, site_failure
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import Site
from fedoperator.desired.config import config_map


def _entry(context: JobContext, site: Site) -> RosterEntry:
    """A site in the aggregator's roster. One that cannot run, for good or until it has rested, is not waited for."""
    reason = _missed(context, site) or site.barred or _out_of_order(context, site.name)
    return RosterEntry(name=site.name, eligible=not reason, reason=reason)


def _missed(context: JobContext, site: Site) -> str:
    """Whether a site was barred before its Job of the step had started: the aggregator does not wait for it."""
    job = context.job_of(site.name)
    late = context.by_round and site.barred and site.name in context.step.sites and (job is None or job.suspended)
    return Reason.NOT_STARTED if late else ""


def _out_of_order(context: JobContext, client: str) -> str:
    """Why a site's Job does not run: it cannot be made, it failed for good, or it used up its failures."""
    if client in context.lacking_jobset:
        return Reason.JOBSET_MISSING
    failure, job = site_failure(context, client) or early.training(context, client), context.job_of(client)
    if failure:
        return failure.reason
    return Reason.TOO_MANY_FAILURES if job and rest(context, job) else ""


def roster(context: JobContext) -> tuple[RosterEntry, ...]:
    """The job's sites as the aggregator is told of them."""
    return tuple(_entry(context, site) for site in context.sites)


def config_maps(context: JobContext) -> tuple[JsonView, ...]:
    """The aggregator's configuration, with the roster in it."""
    return (config_map(context.observed.job, roster(context)),)
