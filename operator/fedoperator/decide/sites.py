"""Policy: which sites belong to a job (label selectors, at most 10,000), which of them may take part in new rounds, which only evaluate."""

from collections.abc import Sequence
from dataclasses import dataclass

from fedapi.crd.clients import Requirement, Selector
from fedapi.crd.evaluation import EvaluationRequest
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.fields import find
from fedapi.crd.flclient import FLClient, FLClientSpec
from fedapi.wire.roster import MAX_SITES
from fedoperator.decide.decision import Observed
from fedoperator.decide.reasons import ClientCondition, Reason


@dataclass(frozen=True)
class Site:
    """A site of the job. `barred`: why it takes no part in new rounds; empty when it does."""

    client: FLClient
    barred: str = ""
    held_out: bool = False  # it evaluates committed models and trains in no round

    @property
    def name(self) -> str:
        """Name of the FLClient."""
        return self.client.metadata.name

    @property
    def has_heartbeat(self) -> bool:
        """Whether the Lease with the site's name is its own: an aggregator gets no right to somebody else's."""
        told = find(self.client.status.conditions, ClientCondition.CONNECTED)
        return told is None or told.reason != Reason.FOREIGN_OBJECT


def _holds(requirement: Requirement, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values or []
    match requirement.operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


def matches(selector: Selector, labels: dict[str, str]) -> bool:
    """Whether an object with these labels is selected, as Kubernetes defines it. An empty selector selects all."""
    equal = all(labels.get(key) == value for key, value in (selector.match_labels or {}).items())
    return equal and all(_holds(requirement, labels) for requirement in selector.match_expressions or ())


def barred(client: FLClient, job: FederatedJobSpec) -> str:
    """Why a site takes no part in new rounds, or "". A Ready condition about an older generation says nothing."""
    if client.spec.paused:
        return Reason.PAUSED
    if not enrolled(client.spec):
        return Reason.NOT_ENROLLED
    if not confidential_enough(client, job):
        return Reason.NOT_CONFIDENTIAL
    if not private_enough(client, job):
        return Reason.NOT_PRIVATE
    ready = find(client.status.conditions, ClientCondition.READY)
    current = ready is not None and (ready.observed_generation or 0) >= client.metadata.generation
    return Reason.NOT_READY if ready is not None and current and ready.status == "False" else ""


def enrolled(spec: FLClientSpec) -> bool:
    """Whether the site has a key, where it has to have one before it takes part."""
    return spec.enrollment is None or spec.identity is not None


def confidential_enough(client: FLClient, job: FederatedJobSpec) -> bool:
    """Whether the job's aggregator can be what the site demands. That it is, it has to prove to the site itself."""
    demand = client.spec.requires.confidential if client.spec.requires else None
    offered = job.aggregator.confidential
    return demand is None or (offered is not None and offered.type in demand.types)


def private_enough(client: FLClient, job: FederatedJobSpec) -> bool:
    """Whether the job hides the site's updates as it demands, as far as the job says. What is left of its budget, it knows itself."""
    if client.spec.requires is None or client.spec.requires.privacy is None:
        return True
    demand = client.spec.requires.privacy.told()
    asked = job.privacy.differential_privacy if job.privacy else None
    if demand.secure_aggregation and not (job.privacy and job.privacy.secure_aggregation):
        return False
    if not demand.asks_for_noise:
        return True
    if asked is None or asked.mode != ("Distributed" if demand.secure_aggregation else "Local"):
        return False
    least, noise = demand.min_noise_multiplier, asked.noise_multiplier
    return least is None or noise is None or float(noise) >= least


def held_out(observed: Observed, client: FLClient) -> bool:
    """Whether a site evaluates and does not train, whatever clients.selector says."""
    evaluation = observed.job.spec.evaluation
    selector = evaluation.held_out.selector if evaluation and evaluation.held_out else None
    return selector is not None and matches(selector, client.metadata.labels)


def evaluating(request: EvaluationRequest, chosen: Sequence[Site]) -> tuple[str, ...]:
    """The sites that a round's evaluation is asked of, as they are now. A name that is none of the job's is missing for ever."""
    if request.clients is not None:
        return tuple(request.clients)
    labels = {site.name: site.client.metadata.labels for site in chosen}
    return tuple(name for name in labels if request.selector is None or matches(request.selector, labels[name]))


def trainees(observed: Observed) -> tuple[Site, ...]:
    """Those of the job's sites that train."""
    return tuple(site for site in sites(observed) if not site.held_out)


def out_of_reach(quorum: int | str, able: int) -> bool:
    """Whether so many sites can never be the quorum. A percentage is of those that are selected, so it always can."""
    return isinstance(quorum, int) and quorum > able


def selected(observed: Observed) -> tuple[FLClient, ...]:
    """What the selectors find, the oldest first. A site that is being deleted no longer belongs to the job."""
    selector = observed.job.spec.clients.selector
    found = (
        client
        for client in observed.clients
        if not client.metadata.deletion_timestamp
        and (matches(selector, client.metadata.labels) or held_out(observed, client))
    )
    return tuple(sorted(found, key=lambda client: (client.metadata.creation_timestamp or "", client.metadata.name)))


def sites(observed: Observed) -> tuple[Site, ...]:
    """The job's sites by name: of too many the oldest, so that a newcomer never pushes another one out."""
    found = (
        Site(client, barred(client, observed.job.spec), held_out=held_out(observed, client))
        for client in selected(observed)[:MAX_SITES]
    )
    return tuple(sorted(found, key=lambda site: site.name))
