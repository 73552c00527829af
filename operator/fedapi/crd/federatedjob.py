"""FederatedJob: one model trained by many sites. The spec (the user's); its status is in job_status.py.

Read by the operator, the embedded runner and the documentation. A field is here only when it works.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from fedapi.crd.anomalies import ANOMALIES, Anomalies
from fedapi.crd.asynchronous import ASYNCHRONOUS
from fedapi.crd.backup import Backup, RestoreFrom
from fedapi.crd.clients import Clients
from fedapi.crd.compression import Compression
from fedapi.crd.confidential import SEALED_TO_THE_GUEST, Confidential
from fedapi.crd.dpsgd import HIDING_RECORDS
from fedapi.crd.evaluation import EVALUATE_ONLY, Evaluation
from fedapi.crd.events import ARRIVALS_OF_S3, CERTIFIED, Events
from fedapi.crd.fields import (
    Duration,
    Name,
    ObjectMeta,
    Part,
    QueueName,
    immutable,
    rule,
    rules,
)
from fedapi.crd.homomorphicencryption import ENCRYPTED
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.crd.podfields import AggregatorPodPatch, Resources
from fedapi.crd.privacy import CORRELATED, PRIVATE, Privacy
from fedapi.crd.release import SAME as SAME_RELEASE
from fedapi.crd.release import Release
from fedapi.crd.robust import ENOUGH_DRAWN
from fedapi.crd.rounds import Round, Stop
from fedapi.crd.secureaggregation import MASKED
from fedapi.crd.securesums import NOISE_OF_SITES
from fedapi.crd.sitestrategies import TRAINING_RULES
from fedapi.crd.storage import Storage
from fedapi.crd.storerules import APART_AND_RESIDENT
from fedapi.crd.strategy import FED_NOVA_TRAINING, Strategy
from fedapi.crd.submodels import SUB_MODELS
from fedapi.crd.task import Task
from fedapi.crd.training import Training
from fedapi.jsonvalue import Json

OPERATOR_CONTROLLER = "fedloom.dev/operator"


class Aggregator(Part):
    """The aggregator's pod."""

    resources: Resources | None = Field(
        None,
        description="Compute resources of the aggregator. Where no memory limit is given, it is 1Gi, or what is requested "
        "if that is more.",
    )
    pod_template: AggregatorPodPatch | None = Field(None, description="Additions to the aggregator's pod.")
    confidential: Confidential | None = Field(
        None,
        description="The aggregator runs in a trusted execution environment, and gives sites evidence of that on demand. Absent: it "
        "runs anywhere, and gives none.",
    )


class RollbackTo(Part):
    """An earlier round of this job. Each value acts once, at once: a round under way is dropped and is no failure."""

    round: int = Field(
        ge=0,
        le=2**31 - 1,
        description="Committed round whose model, and memory of its strategy, training goes on from, by a new commit. "
        "Rounds after it stay in the history.",
    )
    id: Annotated[str, Field(max_length=63)] = Field(
        "", description="Any text. To go back to the same round once more, give another one."
    )


class FederatedJobSpec(Part):
    """What a user asks for. Fields that may change act at the next round."""

    task: Task = Field(description="What is trained.", json_schema_extra=immutable("task"))
    rounds: int = Field(
        ge=0,
        le=100000,
        description="How many rounds. 0: a job that only evaluates: every selected site evaluates `task.initialModel`, and the job "
        "ends by `round.quorum` and `round.deadline`.",
    )
    seed: int = Field(
        0,
        ge=0,
        le=2**53 - 1,
        description="Where all randomness that is not secret comes from: the same manifest and seed give the same model.",
        json_schema_extra=immutable("seed"),
    )
    stop: Stop | None = Field(None, description="When training ends before `rounds`.")
    strategy: Strategy = Field(default_factory=Strategy, description="How updates become the next model.")
    clients: Clients = Field(default_factory=Clients, description="Which sites take part.")
    round: Round = Field(default_factory=Round, description="When a round ends.")
    training: Training = Field(default_factory=Training, description="What a site does in a round.")
    evaluation: Evaluation | None = Field(
        None,
        description="Evaluations of committed models beside those of the sites that train; absent: there are none.",
    )
    anomalies: Anomalies | None = Field(
        None,
        description="When an update is anomalous, and what is done about it; absent: none is looked for, and no site is suspended.",
    )
    compression: Compression | None = Field(
        None,
        description="How updates and models are encoded, so that fewer bytes travel; absent: they travel as they are.",
    )
    privacy: Privacy | None = Field(
        None,
        description="What may be told of a site, or of its records, by what is released; absent: nothing bounds it.",
    )
    aggregator: Aggregator = Field(default_factory=Aggregator, description="The aggregator's pod.")
    storage: Storage = Field(default_factory=Storage, description="Where models and records are kept.")
    backup: Backup | None = Field(
        None, description="Copies of the job in a second store, and the proof that they restore."
    )
    restore_from: RestoreFrom | None = Field(
        None,
        description="The backup that this job goes on from, at the round after the last that it holds.",
        json_schema_extra=immutable("restoreFrom"),
    )
    rollback_to: RollbackTo | None = Field(
        None,
        description="The round to go back to: its model becomes that of a new commit. status.rollback says what became of it.",
    )
    events: Events | None = Field(
        None,
        description="Queues by which the aggregator and the sites speak, beside HTTPS. Models and updates over 64 KiB go by "
        "URL all the same: with a bucket a site needs the bucket and the queue alone, with a volume it reaches the aggregator.",
    )
    release: Release | None = Field(
        None,
        description="Who has to approve the final model before `fedloom model pull` hands it out; absent: nobody.",
    )
    suspend: bool = Field(False, description="True frees all pods and keeps the state; false goes on from there.")
    ttl_seconds_after_finished: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="Seconds after the end at which the job deletes itself (not a retained volume).",
    )
    active_deadline_seconds: int | None = Field(
        None, ge=1, le=2**31 - 1, description="Seconds from the start of the job after which it fails."
    )
    pending_deadline: Duration = Field(
        "10m",
        description="How long a pod may stay pending before the job says so; a job without a model fails then if the "
        "image of its aggregator or init Job cannot be pulled.",
    )
    managed_by: Annotated[str, Field(min_length=1, max_length=63)] = Field(
        OPERATOR_CONTROLLER,
        description="Controller that acts on the job; Fedloom's operator leaves a job with any other value alone.",
        json_schema_extra=immutable("managedBy"),
    )
    priority_class_name: Name | None = Field(
        None,
        description="Priority class of all pods of the job; not one of the cluster's own (system-…).",
        json_schema_extra=rules(
            rule(
                "!self.startsWith('system-')",
                "priority classes that begin with system- are for the cluster's own pods: use a class of your own",
            )
        ),
    )
    queue_name: QueueName | None = Field(
        None, description="Kueue LocalQueue that admits the training Jobs; a site's `pool.queueName` wins."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.clients.perRound) || type(self.round.quorum) != int || self.round.quorum <= self.clients.perRound",
                "round.quorum is above clients.perRound, so no round could reach it: lower round.quorum, "
                "make it a percentage, or raise clients.perRound",
                ".round.quorum",
            ),
            rule(
                "!has(self.round.overSelection) || (self.clients.policy != 'Poisson' && "
                "(has(self.clients.perRound) || has(self.clients.fraction)))",
                "overSelection goes with clients.perRound or clients.fraction, and not with policy Poisson, whose draws nothing "
                "may change: remove it, or set another clients.policy",
                ".round.overSelection",
            ),
            rule(
                "self.strategy.name != 'FedSGD' || !has(self.clients.overrides) || "
                "self.clients.overrides.all(each, !has(each.epochs) && !has(each.localSteps))",
                "strategy FedSGD takes one gradient over all of a site's data per round: remove epochs and localSteps from "
                "clients.overrides",
                ".clients.overrides",
            ),
            rule(
                "self.strategy.name != 'DiLoCo' || !has(self.clients.overrides) || "
                "self.clients.overrides.all(each, !has(each.epochs))",
                "strategy DiLoCo runs a number of steps at each site: set localSteps in clients.overrides in the place of epochs",
                ".clients.overrides",
            ),
            rule(
                "self.clients.policy != 'Poisson' || type(self.round.quorum) != int",
                "policy Poisson draws how many sites take part, so no count of them can be asked for: make round.quorum a "
                "percentage, or set another clients.policy",
                ".round.quorum",
            ),
            rule(
                "has(self.restoreFrom) == has(oldSelf.restoreFrom)",
                "restoreFrom cannot change after creation: delete the job and create it anew",
            ),
            rule(
                "has(self.training.exchange) == has(oldSelf.training.exchange) && "
                "has(self.training.localParameters) == has(oldSelf.training.localParameters)",
                "training.exchange and training.localParameters cannot change after creation: delete the job and create it anew",
            ),
            rule(
                "self.training.lifetime != 'Round' || !has(self.evaluation) || !has(self.evaluation.request)",
                "with training.lifetime Round a site has no process when it has nothing to do in a round: remove "
                "evaluation.request, or set training.lifetime: Job",
                ".evaluation",
            ),
            SAME_RELEASE,
            *EVALUATE_ONLY,
            ARRIVALS_OF_S3,
            CERTIFIED,
            *ASYNCHRONOUS,
            *ANOMALIES,
            rule(
                "!has(self.restoreFrom) || !has(self.task.initialModel)",
                "restoreFrom and task.initialModel exclude each other, since both say what the job begins with: keep one",
                ".restoreFrom",
            ),
            *SUB_MODELS,
            *PRIVATE,
            *CORRELATED,
            *MASKED,
            *ENCRYPTED,
            *NOISE_OF_SITES,
            *HIDING_RECORDS,
            *TRAINING_RULES,
            *APART_AND_RESIDENT,
            SEALED_TO_THE_GUEST,
            *ENOUGH_DRAWN,
            FED_NOVA_TRAINING,
        )
    )


class FederatedJob(Part):
    """A FederatedJob as the API server returns it."""

    metadata: ObjectMeta
    spec: FederatedJobSpec
    status: FederatedJobStatus = Field(default_factory=FederatedJobStatus)

    @classmethod
    def parse(cls, body: Json) -> "FederatedJob":
        """From an API object; unknown spec fields are refused (pydantic.ValidationError)."""
        parts = {key: body[key] for key in ("metadata", "spec") if body.get(key) is not None}
        return cls.model_validate({**parts, "status": FederatedJobStatus.read(body.get("status"))})
