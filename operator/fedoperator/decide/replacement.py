"""Policy: a changed template means a new Job. Two Jobs of one site never run pods side by side.

The old Job is deleted when the site does not work on the round under way, so a change acts at the next round;
the new one is made when the old one and its pods are gone. Sites that no longer belong to the job go the same way,
and so do Jobs of an earlier step of the plan: what they work on is void. One that has ended is in nobody's way.
"""

from dataclasses import dataclass

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.queues import held_back
from fedoperator.decide.view import JobView


@dataclass(frozen=True)
class Replacement:
    """Training Jobs to apply, Jobs to delete, and sites whose new Job waits."""

    apply: tuple[JsonView, ...]
    delete: tuple[Key, ...]
    waiting: frozenset[str]  # the old Job or its pods are still going
    busy: frozenset[str]  # the old Job works on the round under way


def in_training(context: JobContext, job: JobView) -> bool:
    """Whether deleting or suspending the Job would throw away work of the round under way."""
    timely = job.step in ("", context.step.name) and context.holds_keys(job)  # else the aggregator does not know it
    return timely and job.running and not job.deleting and context.in_round(job.client) and not context.spec.suspend


def _stale(context: JobContext, client: str) -> list[JobView]:
    wanted = context.wanted.get(client)
    return [
        job for job in context.jobs_of(client) if not wanted or job.deleting or job.name != wanted["metadata"]["name"]
    ]


def _in_the_way(context: JobContext, client: str, stale: list[JobView]) -> bool:
    """Whether the new Job has to wait for old ones: those that may still run a pod, or have its name."""
    name = context.wanted[client]["metadata"]["name"]
    return any(not job.finished or job.name == name for job in stale)


def _leftovers(context: JobContext, client: str) -> bool:
    """Whether pods of a Job that is not the wanted one still run at the site."""
    name = context.wanted[client]["metadata"]["name"]
    return any(
        pod.role == names.ROLE_TRAINER and pod.client == client and pod.job != name and not pod.finished
        for pod in context.pods
    )


def replacement(context: JobContext) -> Replacement:
    """What to do about every site's training Job."""
    clients = sorted(set(context.wanted) | {job.client for job in context.training_jobs})
    apply, delete, waiting, busy = [], [], set(), set()
    for client in clients:
        stale = _stale(context, client)
        going = [job for job in stale if not job.deleting]
        at_work = [job for job in going if in_training(context, job)]
        delete += [job.key for job in going if job not in at_work]
        if at_work:
            busy.add(client)
        if client not in context.wanted or held_back(context, context.wanted[client]):
            continue
        if _in_the_way(context, client, stale) or (context.job_of(client) is None and _leftovers(context, client)):
            waiting.add(client)
        else:
            apply.append(context.wanted[client])
    return Replacement(tuple(apply), tuple(delete), frozenset(waiting), frozenset(busy))
