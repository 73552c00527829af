"""Policy: the sites that the aggregator is told of, carried by its ConfigMap.

Of each: whether it waits for it, and what it must know to select and to instruct it.
"""

from collections.abc import Mapping, Sequence

from fedapi.crd.clients import Override
from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import JsonView
from fedapi.wire.roster import RosterEntry
from fedapi.wire.signature import SiteKey
from fedoperator.decide import early
from fedoperator.decide.context import JobContext
from fedoperator.decide.failures import rest, site_failure
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import Site, evaluating, matches
from fedoperator.decide.strata import strata, stratum
from fedoperator.desired.config import config_map
from fedoperator.desired.site_key import public_keys, secret_name


def _entry(context: JobContext, site: Site, strata: Mapping[str, int]) -> RosterEntry:
    """A site in the aggregator's roster. One that cannot run, for good or until it has rested, is not waited for."""
    reason = _missed(context, site) or site.barred or _out_of_order(context, site.name)
    clients = context.spec.clients
    return RosterEntry(
        name=site.name,
        eligible=not reason,
        reason=reason,
        stratum=strata.get(stratum(clients.stratified, site.client))
        if clients.stratified and not site.held_out
        else None,
        every_rounds=site.client.spec.participation.every_rounds,
        override=_override(clients.overrides or (), site.client),
        held_out=site.held_out,
    )


def _override(overrides: Sequence[Override], client: FLClient) -> int | None:
    """The first that selects the site."""
    labels = client.metadata.labels
    return next((number for number, each in enumerate(overrides) if matches(each.selector, labels)), None)


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
    numbers = {name: number for number, name in enumerate(strata(context))}
    return tuple(_entry(context, site, numbers) for site in context.sites)


def _keys(context: JobContext, site: Site) -> tuple[SiteKey, ...]:
    """Keys that the site's messages are held to: its first one not before the Job that cannot sign has made room for one that can."""
    unsigned = any(job.running and secret_name(site.name) not in job.secrets for job in context.jobs_of(site.name))
    return () if unsigned else public_keys(site.client)


def config_maps(context: JobContext) -> tuple[JsonView, ...]:
    """The aggregator's configuration, with the roster in it."""
    evaluation = context.spec.evaluation
    request = evaluation.request if evaluation else None
    asked = evaluating(request, context.sites) if request else ()
    keys = {site.name: found for site in context.sites if (found := _keys(context, site))}
    return (config_map(context.observed.job, roster(context), strata(context), asked, keys),)
