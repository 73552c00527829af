"""One Observed, read once: the job's sites, its own Jobs and pods by role, the aggregator. What every policy looks at.

Jobs and pods are only ever looked at in a role: one that a policy does not know is never counted, suspended or waited
for. Objects with another job uid belong to a job of the same name that was deleted before: they are not looked at.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import TypeVar

from fedapi import names
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.flclient import FLClient
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.jsonvalue import JsonView
from fedoperator.decide import plan_step
from fedoperator.decide.decision import Key, Observed, Refused
from fedoperator.decide.facts import instant
from fedoperator.decide.plan_step import PlanStep
from fedoperator.decide.sites import Site, selected, sites
from fedoperator.decide.view import JobView, PodView, dig, labels, secrets_of
from fedoperator.desired.identity import Identity
from fedoperator.desired.init_job import HubImage, init_job
from fedoperator.desired.kinds import JOB_KINDS
from fedoperator.desired.ownership import belongs_to_job, controlled_by
from fedoperator.desired.pool import Shape, needs_jobset
from fedoperator.desired.training_job import training_job

T = TypeVar("T")
_JOB_ROLES = (names.ROLE_INIT, names.ROLE_RESTORE, names.ROLE_TRAINER, names.ROLE_BACKUP, names.ROLE_VERIFY)


@dataclass(frozen=True)
class JobContext:
    """An observation with `now`, indexed."""

    observed: Observed
    now: datetime
    identity: Identity
    matching: int  # FLClients that the selector finds: more than there are sites when they are too many
    sites: tuple[Site, ...]
    step: PlanStep  # the step of the aggregator's plan that is under way
    lacking_jobset: frozenset[str]  # sites whose pool needs a JobSet where there are none
    wanted: Mapping[str, JsonView]  # FLClient -> its training Job as it should be; without an entry: none
    wanted_init: JsonView
    jobs: Mapping[str, tuple[JobView, ...]]  # role -> Jobs and JobSets by name
    pods: Mapping[str, tuple[PodView, ...]]  # role -> pods, oldest first

    @classmethod
    def of(cls, observed: Observed, now: datetime) -> "JobContext":
        """Index an observation."""
        identity = Identity.of(observed.job, observed.settings.keys_id)
        jobs = sorted(map(JobView.of, _own_jobs(observed, identity.uid)), key=lambda job: job.name)
        own = (PodView.of(p) for p in observed.pods if labels(p).get(names.LABEL_JOB_UID) == identity.uid)
        pods = sorted(own, key=lambda pod: (pod.created, pod.name))
        chosen, step = sites(observed), PlanStep.of(observed.job.status)
        lacking = frozenset(
            s.name for s in chosen if not observed.jobset and needs_jobset(Shape.of(s.client.spec.pool))
        )
        able = (site for site in chosen if site.name not in lacking)
        return cls(
            observed=observed,
            now=now,
            identity=identity,
            matching=len(selected(observed)),
            sites=chosen,
            step=step,
            lacking_jobset=lacking,
            wanted=_wanted(observed, able, step, jobs),
            wanted_init=_wanted_init(observed),
            jobs=_grouped(jobs, lambda job: job.role),
            pods=_grouped(pods, lambda pod: pod.role),
        )

    @property
    def by_round(self) -> bool:
        """Whether training Jobs live for one step of the plan: training.lifetime Round."""
        return self.spec.training.lifetime == "Round"

    @property
    def spec(self) -> FederatedJobSpec:
        """The job's spec."""
        return self.observed.job.spec

    @property
    def status(self) -> FederatedJobStatus:
        """The job's status as it was observed."""
        return self.observed.job.status

    @cached_property
    def trainees(self) -> tuple[Site, ...]:
        """Those of the sites that train: rounds are made of them."""
        return tuple(site for site in self.sites if not site.held_out)

    @property
    def started(self) -> datetime | None:
        """When the job was first acted on."""
        return instant(self.status.start_time) if self.status.start_time else None

    @property
    def deployment(self) -> JsonView | None:
        """The aggregator's live Deployment."""
        found = self.observed.children.get(Key("Deployment", self.identity.aggregator))
        return found if found is not None and belongs_to_job(found, self.identity.uid) else None

    @property
    def aggregator_ready(self) -> bool:
        """Whether the Deployment's newest template has a ready pod."""
        seen = dig(self.deployment, "status", "observedGeneration")
        fresh = (seen or 0) >= (dig(self.deployment, "metadata", "generation") or 0)
        return fresh and (dig(self.deployment, "status", "readyReplicas") or 0) > 0

    @property
    def model_served(self) -> bool:
        """Whether an aggregator is there that has a model."""
        return self.aggregator_ready and self.status.model is not None

    @property
    def aggregator_pods(self) -> tuple[PodView, ...]:
        """The aggregator's pods, oldest first."""
        return self.pods.get(names.ROLE_AGGREGATOR, ())

    @property
    def init_pods(self) -> tuple[PodView, ...]:
        """Pods of init Jobs, oldest first."""
        return self.pods.get(names.ROLE_INIT, ())

    @property
    def training_pods(self) -> tuple[PodView, ...]:
        """Training pods of all sites, oldest first."""
        return self.pods.get(names.ROLE_TRAINER, ())

    @property
    def init_jobs(self) -> tuple[JobView, ...]:
        """Init Jobs; more than one while a changed template replaces the old."""
        return self.jobs.get(names.ROLE_INIT, ())

    @property
    def restore_jobs(self) -> tuple[JobView, ...]:
        """Jobs that restore a backup into the store; more than one while a changed template replaces the old."""
        return self.jobs.get(names.ROLE_RESTORE, ())

    @property
    def restored(self) -> bool:
        """Whether the store holds what the job begins with, as far as that is a backup."""
        asked = self.spec.restore_from is not None
        return not asked or self.status.model is not None or any(job.complete for job in self.restore_jobs)

    @property
    def hub_image(self) -> HubImage:
        """The image of the hub's own programs."""
        return HubImage(self.observed.settings.aggregator_image, self.observed.settings.image_pull_policy)

    @property
    def training_jobs(self) -> tuple[JobView, ...]:
        """Training Jobs of all sites, also of sites that no longer belong to the job."""
        return self.jobs.get(names.ROLE_TRAINER, ())

    @property
    def initialized(self) -> bool:
        """Whether the initial model is committed: the aggregator says so, or the init Job, which ends well after it.

        Of a Job with another template nobody knows what became of its model: those of release 0.1 left it in a file.
        """
        wanted = self.wanted_init["metadata"]["name"]
        return self.status.model is not None or any(job.complete and job.name == wanted for job in self.init_jobs)

    @cached_property
    def _jobs_by_client(self) -> Mapping[str, tuple[JobView, ...]]:
        return _grouped(self.training_jobs, lambda job: job.client)

    @cached_property
    def _pods_by_job(self) -> Mapping[str, tuple[PodView, ...]]:
        return _grouped((pod for role in _JOB_ROLES for pod in self.pods.get(role, ())), lambda pod: pod.job)

    @cached_property
    def _pods_by_client(self) -> Mapping[str, tuple[PodView, ...]]:
        return _grouped(self.training_pods, lambda pod: pod.client)

    @cached_property
    def _sites_by_name(self) -> Mapping[str, Site]:
        return {site.name: site for site in self.sites}

    @cached_property
    def _states(self) -> Mapping[str, str]:
        return {entry.name: entry.state for entry in self.status.clients or ()}

    @cached_property
    def _refused(self) -> Mapping[Key, Refused]:
        return {each.key: each for each in self.observed.refused}

    @cached_property
    def _workers(self) -> Mapping[str, int]:
        return {site.name: Shape.of(site.client.spec.pool).workers for site in self.sites}

    def site(self, client: str) -> Site | None:
        """The site with that name; None: it does not belong to the job."""
        return self._sites_by_name.get(client)

    def job_of(self, client: str) -> JobView | None:
        """The site's live training Job, when its template is the wanted one."""
        manifest = self.wanted.get(client)
        name = manifest["metadata"]["name"] if manifest else ""
        return next((job for job in self.jobs_of(client) if job.name == name and not job.deleting), None)

    def jobs_of(self, client: str) -> tuple[JobView, ...]:
        """Training Jobs of one site."""
        return self._jobs_by_client.get(client, ())

    def pods_of(self, job: str) -> tuple[PodView, ...]:
        """Pods of one Job, oldest first."""
        return self._pods_by_job.get(job, ())

    def pods_at(self, client: str) -> tuple[PodView, ...]:
        """Training pods of one site, oldest first."""
        return self._pods_by_client.get(client, ())

    def workers(self, client: str) -> int:
        """Pods that the site's ring shall have."""
        return self._workers.get(client, 1)

    def holds_keys(self, job: JobView) -> bool:
        """Whether a training Job mounts a Secret that was made from the keys in force."""
        return self.identity.site_secret(job.client) in job.secrets

    @property
    def keys_replaced(self) -> bool:
        """Whether the aggregator or a training Job still has Secrets of earlier keys."""
        mounted = secrets_of(dig(self.deployment, "spec", "template")) if self.deployment else ()
        stale = bool(mounted) and self.identity.secret not in mounted
        going = (job for job in self.training_jobs if not job.finished and job.client in self.wanted)
        return stale or any(job.secrets and not self.holds_keys(job) for job in going)

    def state_of(self, client: str) -> str | None:
        """What the site does, as the aggregator says; None where it does not say."""
        return self._states.get(client)

    def in_round(self, client: str) -> bool:
        """Whether the site works on the round under way, as the aggregator says."""
        return self.state_of(client) == "Training"

    def refused(self, key: Key) -> Refused | None:
        """Why an object cannot be written."""
        return self._refused.get(key)


def _own_jobs(observed: Observed, uid: str) -> Iterator[JsonView]:
    """The Jobs and JobSets that the job controls, and the Jobs of its CronJobs."""
    crons = {
        str(body["metadata"].get("uid"))
        for key, body in observed.children.items()
        if key.kind == "CronJob" and belongs_to_job(body, uid)
    }
    for key, body in observed.children.items():
        if key.kind in JOB_KINDS and (belongs_to_job(body, uid) or controlled_by(body) in crons):
            yield body


def _wanted_init(observed: Observed) -> JsonView:
    settings = observed.settings
    hub = HubImage(settings.aggregator_image, settings.image_pull_policy)
    return init_job(observed.job, hub, settings.cluster_domain, settings.keys_id)


def _wanted(
    observed: Observed, chosen: Iterable[Site], step: PlanStep, jobs: Sequence[JobView]
) -> Mapping[str, JsonView]:
    """Every site's training Job as it should be now."""
    job = observed.job
    found = _grouped((job for job in jobs if job.role == names.ROLE_TRAINER), lambda job: job.client)
    settings = observed.settings
    build = partial(
        training_job,
        job,
        cluster_domain=settings.cluster_domain,
        jobset=observed.jobset,
        keys=settings.keys_id,
        registry_url=settings.registry_url,
    )
    if job.spec.training.lifetime == "Job":
        return {site.name: build(site.client) for site in chosen}
    manifests: dict[str, JsonView] = {}
    for site in chosen:
        manifests |= plan_step.wanted(site, step, found.get(site.name, ()), partial(_built, build, site.client))
    return manifests


def _built(build: Callable[..., JsonView], client: FLClient, step: str) -> JsonView:
    return build(client, step=step)


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> Mapping[str, tuple[T, ...]]:
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return {name: tuple(group) for name, group in groups.items()}
