"""Policy: with training.lifetime Round, which site has a training Job, from the plan that the aggregator published.

A step of that plan is an attempt of a round, or the last evaluation. A selected site has one Job per step,
others have none. The plan is another process's word: a site that is paused or not Ready starts nothing, whatever it
says, and ends what it had started before. A Job that failed for good stays as the record of it, and keeps its site from
getting another one until somebody deletes it or changes its template. Used by context.py.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fedapi import names
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.jsonvalue import JsonView
from fedoperator.decide.sites import Site
from fedoperator.decide.view import JobView, labels


@dataclass(frozen=True)
class PlanStep:
    """The step of the plan that is under way."""

    name: str = ""  # "<round>-<attempt>" or "<round>-evaluate"; empty while nothing is planned
    sites: frozenset[str] = frozenset()

    @classmethod
    def of(cls, status: FederatedJobStatus) -> "PlanStep":
        """From what the aggregator published; it keeps the sites of a step together with its name."""
        plan = status.round
        if plan is None or plan.step is None:
            return cls()
        part = plan.attempt if plan.step == "Train" else "evaluate"
        return cls(f"{plan.current}-{part}", frozenset(plan.selected))


def of_step(manifest: JsonView, step: str) -> JsonView:
    """A training Job that says for which step it was made."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**labels(manifest), names.LABEL_STEP: step}}}


def wanted(
    site: Site, step: PlanStep, jobs: Iterable[JobView], build: Callable[[str], JsonView]
) -> Mapping[str, JsonView]:
    """The site's Job of this step, or the one that failed; nothing where it has no part. `build` makes a step's Job."""
    live = [job for job in jobs if not job.deleting]
    for job in live:
        if job.failed and build(job.step)["metadata"]["name"] == job.name:
            return {site.name: of_step(build(job.step), job.step)}
    if site.name not in step.sites or (site.barred and all(job.step != step.name for job in live)):
        return {}
    return {site.name: of_step(build(step.name), step.name)}
