"""Settings of the trainer: read once from the environment into frozen objects, printed at start.

Names come from fedapi.names (set by the operator) and, for what a site may tune, from the constants here.
The token is no setting: it is read from the credentials directory and never printed.
"""

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic import Json as PydanticJson
from pydantic.networks import IPvAnyAddress

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.attestation import Demand
from fedapi.wire.entrusted import MAX_ENTRUSTED
from fedapi.wire.privacy import PrivacyDemand
from fedtrainer.environment import FromEnvironment, read_token
from fedtrainer.ring.slot import Accelerator, Backend, Collective, Slot

ENV_PATIENCE_S = "FEDLOOM_PATIENCE_S"
ENV_POLL_S = "FEDLOOM_POLL_S"
ENV_THREADS = "FEDLOOM_THREADS"
ENV_RING_WAIT_S = "FEDLOOM_RING_WAIT_S"
ENV_RING_TIMEOUT_S = "FEDLOOM_RING_TIMEOUT_S"
ENV_LOG_LEVEL = "FEDLOOM_LOG_LEVEL"


class TaskSettings(FromEnvironment):
    """What both `train` and `init` need: the task and the seed."""

    entrypoint: str = Field(
        validation_alias=names.ENV_ENTRYPOINT,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="The task, as package.module:factory.",
    )
    task_args: Json = Field(
        default_factory=dict,
        validation_alias=names.ENV_TASK_ARGS,
        description="Keyword arguments of the factory, a JSON object.",
    )
    seed: int = Field(
        0, ge=0, validation_alias=names.ENV_SEED, description="spec.seed, from which all randomness derives."
    )
    threads: int = Field(
        1,
        ge=1,
        validation_alias=ENV_THREADS,
        description="Threads of one torch operation; 1 keeps bits alike everywhere.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=ENV_LOG_LEVEL, description="Least level that is logged."
    )

    @field_validator("task_args", mode="before")
    @classmethod
    def _parsed(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON ({error})") from None


class HubSettings(TaskSettings):
    """What a process needs to speak to the aggregator."""

    job: str = Field(validation_alias=names.ENV_JOB, description="Name of the FederatedJob.")
    namespace: str = Field("default", validation_alias=names.ENV_NAMESPACE, description="Namespace of the job.")
    job_uid: str = Field(min_length=1, validation_alias=names.ENV_JOB_UID, description="Its uid: messages name it.")
    aggregator_url: str = Field(
        pattern=r"^https://", validation_alias=names.ENV_AGGREGATOR_URL, description="Where the aggregator answers."
    )
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS),
        validation_alias=names.ENV_CREDENTIALS_DIR,
        description="The process's Secret: token, ca.crt, tls.crt and tls.key.",
    )
    patience_s: float = Field(
        600.0, gt=0, validation_alias=ENV_PATIENCE_S, description="Seconds without the aggregator before giving up."
    )

    @property
    def ca_file(self) -> Path:
        """PEM of the CA that signed the aggregator's certificate."""
        return self.credentials_dir / names.FILE_CA

    def token(self) -> SecretStr:
        """The bearer token."""
        return read_token(self.credentials_dir / names.FILE_TOKEN)


class InitSettings(TaskSettings):
    """Settings of `init`."""

    init_dir: Path = Field(validation_alias=names.ENV_INIT_DIR, description="Where the initial model is written.")
    import_file: str = Field(
        "", validation_alias=names.ENV_IMPORT_FILE, description="The file of task.initialModel: a path, or file:PATH."
    )
    import_sha256: str = Field("", validation_alias=names.ENV_IMPORT_SHA256, description="What that file must have.")
    exchange: tuple[str, ...] = Field(
        (), validation_alias=names.ENV_EXCHANGE, description="training.exchange, a JSON list of patterns."
    )
    local_parameters: tuple[str, ...] = Field(
        (), validation_alias=names.ENV_LOCAL_PARAMETERS, description="training.localParameters, the same."
    )
    widths: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), validation_alias=names.ENV_WIDTHS, description="All of clients.overrides[].modelWidth below 1, a JSON list."
    )

    @field_validator("exchange", "local_parameters", "widths", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"is not JSON ({error})") from None


class EvaluateSettings(TaskSettings):
    """Settings of `evaluate`: no hub, no credentials."""

    verify_dir: Path = Field(
        validation_alias=names.ENV_VERIFY_DIR, description="Folder in which a verification asks, and is answered."
    )
    data_dir: Path = Field(
        Path(names.PATH_DATA),
        validation_alias=names.ENV_DATA_DIR,
        description="One folder per data volume of spec.backup.verify.data.",
    )
    patience_s: float = Field(
        21_600.0, gt=0, validation_alias=ENV_PATIENCE_S, description="Seconds that it waits for the question."
    )


class TrainerSettings(HubSettings):
    """Settings of `train`."""

    client: str = Field(min_length=1, validation_alias=names.ENV_CLIENT, description="Name of the site's FLClient.")
    data_dir: Path = Field(
        Path(names.PATH_DATA),
        validation_alias=names.ENV_DATA_DIR,
        description="One folder per data volume of the FLClient.",
    )
    state_dir: Path = Field(
        Path(names.PATH_STATE),
        validation_alias=names.ENV_STATE_DIR,
        description="Checkpoints, updates not yet acknowledged, and the state that the task keeps.",
    )
    signing_key_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_SIGNING_KEY_DIR,
        description="Folder with signing.key, by which the site signs its updates and reports; absent: it signs nothing.",
    )
    peer_keys_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_PEER_KEYS_DIR,
        description="Folder with the other sites' public keys, a file per site; absent: they are what they were when first seen.",
    )
    state_key_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_STATE_KEY_DIR,
        description="Folder with state.key, by which the site encrypts the state that it entrusts to the hub; absent: it entrusts none.",
    )
    entrust_every_rounds: int = Field(
        1,
        ge=1,
        validation_alias=names.ENV_ENTRUST_EVERY_ROUNDS,
        description="Rounds from one entrusted state to the next.",
    )
    entrust_keep_last: int = Field(
        2,
        ge=1,
        le=MAX_ENTRUSTED,
        validation_alias=names.ENV_ENTRUST_KEEP_LAST,
        description="Entrusted states that the hub keeps.",
    )
    poll_s: float = Field(
        25.0, ge=0, le=60, validation_alias=ENV_POLL_S, description="Seconds that one question for work is held open."
    )
    queues: str = Field(
        "",
        validation_alias=names.ENV_QUEUES,
        description="Where the job's queues are, as the aggregator is told; empty: the site speaks HTTPS alone.",
    )
    queues_credentials_dir: Path | None = Field(
        None, validation_alias=names.ENV_QUEUES_CREDENTIALS_DIR, description="Folder of the site's Secret for them."
    )
    requires_confidential: PydanticJson[Demand] | None = Field(
        None,
        validation_alias=names.ENV_REQUIRES_CONFIDENTIAL,
        description="What the aggregator has to prove before the site works for it, as JSON; absent: nothing.",
    )
    requires_privacy: PydanticJson[PrivacyDemand] | None = Field(
        None,
        validation_alias=names.ENV_REQUIRES_PRIVACY,
        description="How much noise the site must be asked to add, and what it may tell in all, as JSON; absent: whatever is asked.",
    )
    accelerator: Accelerator = Field(
        "CPU", validation_alias=names.ENV_ACCELERATOR, description="Kind of device that the ranks train on."
    )
    collective: Collective = Field(
        "Horovod", validation_alias=names.ENV_COLLECTIVE, description="What joins the ranks of the site."
    )
    backend: Backend = Field(
        "Auto", validation_alias=names.ENV_BACKEND, description="Transport of the ring; Auto: NCCL between GPUs."
    )
    ring_workers: int = Field(
        1, ge=1, validation_alias=names.ENV_RING_WORKERS, description="Pods (workers) of the site's ring."
    )
    ring_min_workers: int | None = Field(
        None,
        ge=1,
        validation_alias=names.ENV_RING_MIN_WORKERS,
        description="With fewer workers the ring waits; absent: it waits for all.",
    )
    ring_slots: int = Field(1, ge=1, validation_alias=names.ENV_RING_SLOTS, description="Ranks (processes) per worker.")
    ring_slice_hosts: int = Field(
        1,
        ge=1,
        validation_alias=names.ENV_RING_SLICE_HOSTS,
        description="TPU: workers per slice; a slice is in the ring as a whole or not at all.",
    )
    ring_leader: str = Field(
        "127.0.0.1",
        min_length=1,
        validation_alias=names.ENV_RING_LEADER,
        description="Host name of worker 0, which keeps the generations of the ring.",
    )
    ring_port: int = Field(
        names.RING_PORT, ge=1, le=65535, validation_alias=names.ENV_RING_PORT, description="Port of that service."
    )
    ring_address: IPvAnyAddress = Field(
        IPv4Address("127.0.0.1"),
        validation_alias=names.ENV_RING_ADDRESS,
        description="IP address at which the other workers reach this pod.",
    )
    ring_slice: int = Field(
        0, ge=0, validation_alias=names.ENV_RING_SLICE, description="With a JobSet: number of this pod's slice."
    )
    completion_index: int = Field(
        0,
        ge=0,
        validation_alias=names.ENV_COMPLETION_INDEX,
        description="Number of this pod in its Job; with its slice it gives the worker's number. Set by Kubernetes.",
    )
    ring_wait_s: float = Field(
        60.0,
        ge=0,
        validation_alias=ENV_RING_WAIT_S,
        description="Seconds that a ring waits for missing workers before it goes on with fewer (pool.minWorkers).",
    )
    ring_timeout_s: float = Field(
        300.0,
        gt=0,
        validation_alias=ENV_RING_TIMEOUT_S,
        description="Seconds that a rank waits for its peers in one operation.",
    )
    lifetime: Literal["Job", "Round"] = Field(
        "Job",
        validation_alias=names.ENV_LIFETIME,
        description="Job: asks for work until the FederatedJob is over. Round: ends after one order.",
    )

    @model_validator(mode="after")
    def _ring_fits(self) -> Self:
        if self.worker >= self.ring_workers:
            ours = f"{names.ENV_COMPLETION_INDEX} and {names.ENV_RING_SLICE} make this worker {self.worker}"
            raise ValueError(f"{ours}, but {names.ENV_RING_WORKERS} is {self.ring_workers}")
        if self.ring_workers % self.ring_slice_hosts:
            raise ValueError(f"{names.ENV_RING_WORKERS} is no multiple of {names.ENV_RING_SLICE_HOSTS}")
        if (self.ring_min_workers or 1) > self.ring_workers:
            raise ValueError(f"{names.ENV_RING_MIN_WORKERS} is above {names.ENV_RING_WORKERS}")
        return self

    @property
    def worker(self) -> int:
        """Number of this pod in its pool."""
        return self.completion_index + self.ring_slice * self.ring_slice_hosts

    @property
    def ranks(self) -> int:
        """Ranks of the whole ring; with more than one, `train` is a launcher."""
        return self.ring_workers * self.ring_slots

    def alone(self) -> Slot:
        """The slot of the only rank of a site."""
        return Slot(
            accelerator=self.accelerator,
            collective=self.collective,
            backend=self.backend,
            timeout_s=self.ring_timeout_s,
        )


def shown(settings: TaskSettings) -> str:
    """One line for the log. Values of task arguments are left out: a user may have put a password there."""
    values = settings.model_dump(mode="json")
    values["task_args"] = sorted(values["task_args"])
    return json.dumps(values, sort_keys=True)
