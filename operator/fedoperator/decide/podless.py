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
from fedoperator.decide.view import JobView, PodView, condition, dig

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
    found += [job(context, each.name) for each in context.jobs if each.role in roles and each.running]
    yield from filter(None, found)


def _begun(body: JsonView) -> datetime | None:
    started, view = dig(body, "status", "startTime"), JobView.of(body)
    return instant(started) if started and view.running and not view.deleting else None


def lacking(observed: Observed, now: datetime) -> tuple[JsonView, ...]:
    """Live Jobs that have run for longer than the grace with fewer pods than they ask for."""
    going: dict[str, int] = {}
    for pod in map(PodView.of, observed.pods):
        going[pod.job] = going.get(pod.job, 0) + (pod.phase != "Failed")
    jobs = (body for key, body in observed.children.items() if key.kind == "Job")
    return tuple(
        body
        for body in jobs
        if (since := _begun(body)) is not None
        and now >= since + GRACE
        and going.get(body["metadata"]["name"], 0) < (dig(body, "spec", "parallelism") or 1)
    )


def due(context: JobContext) -> Iterator[datetime]:
    """When a Job without pods is looked at again by the clock alone."""
    for key, body in context.observed.children.items():
        if key.kind == "Job" and (since := _begun(body)) is not None:
            yield since + GRACE
