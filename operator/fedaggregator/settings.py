"""The process's settings: read once from the environment into a frozen object, printed at start.

Names are those of fedapi.names; defaults below are for what the operator does not set. Keys are not settings: they
are read from the credentials folder into `Credentials`, whose repr shows none of them.
"""

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import Field, Json
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedaggregator.errors import FatalError
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.attestation import Tee, Verifier


class Settings(BaseSettings):
    """Everything that may differ between two aggregators."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    job: str = Field(validation_alias=names.ENV_JOB, description="Name of the FederatedJob.")
    namespace: str = Field(validation_alias=names.ENV_NAMESPACE, description="Its namespace.")
    job_uid: str = Field(validation_alias=names.ENV_JOB_UID, description="Its uid.")
    config_file: Path = Field(
        Path(names.PATH_CONFIG) / names.CONFIG_FILE,
        validation_alias=names.ENV_CONFIG_FILE,
        description="JobConfig, JSON.",
    )
    store: str = Field(
        names.PATH_STORE,
        validation_alias=names.ENV_STORE,
        description=(
            "Where the store is: a folder, `file:FOLDER`, `memory:NAME` (lost with the process), or an object store: "
            "`s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://ACCOUNT/CONTAINER/PREFIX`."
        ),
    )
    store_credentials_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_STORE_CREDENTIALS_DIR,
        description="Folder of the object store's credentials; where there is none, the cloud's own identity is used.",
    )
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS), validation_alias=names.ENV_CREDENTIALS_DIR, description="Folder of its Secret."
    )
    queues: str = Field(
        "",
        validation_alias=names.ENV_QUEUES,
        description="Where the job's queues are: `amqps://HOST:PORT/VHOST`, `sqs:PREFIX?region=REGION`; empty: it has none.",
    )
    queues_credentials_dir: Path | None = Field(
        None, validation_alias=names.ENV_QUEUES_CREDENTIALS_DIR, description="Folder of the Secret of the queues."
    )
    arrivals_queue: str = Field(
        "",
        validation_alias=names.ENV_ARRIVALS_QUEUE,
        description="Queue into which the bucket's notifications come; empty: none does.",
    )
    tee: Tee | None = Field(
        None,
        validation_alias=names.ENV_TEE,
        description="Kind of the trusted execution environment that it gives evidence of; absent: it gives none.",
    )
    tee_agent: str = Field(
        "", validation_alias=names.ENV_TEE_AGENT, description="Where the guest's agent gives evidence."
    )
    tee_verifier: Json[Verifier] | None = Field(
        None,
        validation_alias=names.ENV_TEE_VERIFIER,
        description="By whom it has itself appraised before it serves, as JSON; absent: by nobody.",
    )
    host: str = Field(
        "::",
        validation_alias=names.ENV_HOST,
        description="Address to bind; `::` is every address, of IPv6 and of IPv4.",
    )
    port: int = Field(names.AGGREGATOR_PORT, validation_alias=names.ENV_PORT, description="HTTPS port.")
    monitoring_port: int = Field(
        names.AGGREGATOR_MONITORING_PORT,
        validation_alias=names.ENV_MONITORING_PORT,
        description="HTTP port of /healthz, /readyz and /metrics.",
    )
    public_url: str = Field(validation_alias=names.ENV_PUBLIC_URL, description="Base of the blob URLs.")
    status: str = Field("kubernetes", validation_alias=names.ENV_STATUS, description="`kubernetes` or `file:PATH`.")
    termination_log: Path | None = Field(
        None, validation_alias=names.ENV_TERMINATION_LOG, description="File for one line of why the process ended."
    )
    log_level: str = Field("INFO", validation_alias="FEDLOOM_LOG_LEVEL", description="Least level that is logged.")
    url_lifetime_s: float = Field(
        1800.0,
        validation_alias="FEDLOOM_URL_LIFETIME_S",
        gt=0,
        description="Seconds that a URL is good for, whoever serves it.",
    )
    store_retry_s: float | None = Field(
        None,
        validation_alias="FEDLOOM_STORE_RETRY_S",
        ge=0,
        description=(
            "Seconds of retries before the store is given up and the process ends: 60 on a volume, which a restart may "
            "mount again; 3600 at an object store, where the round waits."
        ),
    )


@dataclass(frozen=True)
class Credentials:
    """The job's key, the files of the server certificate, and that of the CA by which sites' certificates are verified."""

    job_key: bytes = field(repr=False)
    certificate: Path
    private_key: Path
    ca: Path


def credentials(folder: Path) -> Credentials:
    """Reads the credentials folder; FatalError names what is missing."""
    certificate, private_key, ca = (folder / name for name in (names.FILE_TLS_CERT, names.FILE_TLS_KEY, names.FILE_CA))
    for path in (folder / names.FILE_JOB_KEY, certificate, private_key, ca):
        if not path.is_file():
            raise FatalError(Exit.BAD_SETTINGS, f"{path} is missing: the aggregator's Secret must hold {path.name}")
    key = (folder / names.FILE_JOB_KEY).read_bytes()
    if len(key) != 32:
        raise FatalError(Exit.BAD_SETTINGS, f"{folder / names.FILE_JOB_KEY} has {len(key)} bytes, 32 are needed")
    return Credentials(key, certificate, private_key, ca)
