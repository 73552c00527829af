"""Policy: pods that the cluster refuses to create: a ResourceQuota, Pod Security, an admission policy or webhook.

A Deployment says it in a condition, a Job only in events, which the shell looks up for the Jobs that `lacking` names
(Observed.podless). Nothing is done about it: both controllers try again by themselves, and go on when there is room.
"""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Observed
from fedoperator.decide.facts import Trouble, clipped, instant
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import JobView, PodView, condition, dig, labels

_ROLES = frozenset({names.ROLE_INIT, names.ROLE_TRAINER, names.ROLE_RESTORE, names.ROLE_BACKUP, names.ROLE_VERIFY})
GRACE = timedelta(seconds=10)  # pods of a healthy Job are made within it
_POD_NAME = re.compile(r'^(Error creating: )?(pods "[^"]*")? ?')  # another one in every attempt


def _trouble(message: str) -> Trouble:
    words = clipped(_POD_NAME.sub("", message))
    return Trouble(Reason.PODS_REFUSED, f"the cluster refuses to create its pods: {words}"[:1024], overdue=True)


def aggregator(context: JobContext) -> Trouble | None:
    """Why the aggregator's Deployment has no pod."""
    failure = condition(context.deployment, "ReplicaFailure") if context.deployment else {}
    if failure.get("status") != "True" or any(not p.finished for p in context.aggregator_pods):
        return None
    return _trouble(failure.get("message") or "")


def job(context: JobContext, name: str) -> Trouble | None:
    """Why a Job has fewer pods than it asks for."""
    told = context.observed.podless.get(name)
    if told is None or any(told.seen and pod.created > instant(told.seen) for pod in context.pods_of(name)):
        return None  # there was room since: its next pod waits for another reason
    return _trouble(told.message)


def stuck(context: JobContext, roles: set[str]) -> Iterator[Trouble]:
    """The refusals that hold up workloads with these roles."""
    found = [aggregator(context)] if names.ROLE_AGGREGATOR in roles else []
    found += [job(context, each.name) for role in sorted(roles) for each in context.jobs.get(role, ()) if each.running]
    yield from filter(None, found)


def _begun(body: JsonView) -> datetime | None:
    started, view = dig(body, "status", "startTime"), JobView.of(body)
    return instant(started) if started and view.running and not view.deleting else None


def _jobs(observed: Observed) -> Iterator[JsonView]:
    """Live Jobs whose pods somebody waits for. A JobSet's Jobs bear none of our labels."""
    return (
        b for key, b in observed.children.items() if key.kind == "Job" and labels(b).get(names.LABEL_ROLE) in _ROLES
    )


def lacking(observed: Observed, now: datetime) -> tuple[JsonView, ...]:
    """Live Jobs that have run for longer than the grace with fewer pods than they ask for."""
    going: dict[str, int] = {}
    for pod in map(PodView.of, observed.pods):
        going[pod.job] = going.get(pod.job, 0) + (pod.phase != "Failed")
    return tuple(
        body
        for body in _jobs(observed)
        if (since := _begun(body)) is not None
        and now >= since + GRACE
        and going.get(body["metadata"]["name"], 0) < (dig(body, "spec", "parallelism") or 1)
    )


def due(context: JobContext) -> Iterator[datetime]:
    """When a Job without pods is looked at again by the clock alone."""
    begun = (_begun(body) for body in _jobs(context.observed))
    yield from (since + GRACE for since in begun if since is not None)
