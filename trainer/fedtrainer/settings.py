"""Settings of the trainer: read once from the environment into frozen objects, printed at start.

Names come from fedapi.names (set by the operator) and, for what a site may tune, from the constants here.
The token is no setting: it is read from the credentials directory and never printed.
"""

import json
import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedapi import names
from fedtrainer.errors import BadSettings

ENV_PATIENCE_S = "FEDLOOM_PATIENCE_S"
ENV_POLL_S = "FEDLOOM_POLL_S"
ENV_THREADS = "FEDLOOM_THREADS"
ENV_CHECKPOINT_EVERY_S = "FEDLOOM_CHECKPOINT_EVERY_S"
ENV_LOG_LEVEL = "FEDLOOM_LOG_LEVEL"


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def read(cls) -> Self:
        """From the environment; BadSettings names every variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            wrong = "; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())
            raise BadSettings(f"settings: {wrong}") from None
        except ValueError as error:  # pydantic-settings: a variable that is not JSON
            raise BadSettings(f"settings: {error}") from None


class TaskSettings(_FromEnvironment):
    """What both `train` and `init` need: the task and the seed."""

    entrypoint: str = Field(
        validation_alias=names.ENV_ENTRYPOINT,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$",
        description="The task, as package.module:factory.",
    )
    task_args: dict[str, Any] = Field(
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


class InitSettings(TaskSettings):
    """Settings of `init`."""

    init_dir: Path = Field(validation_alias=names.ENV_INIT_DIR, description="Where the initial model is written.")


class TrainerSettings(TaskSettings):
    """Settings of `train`."""

    job: str = Field(validation_alias=names.ENV_JOB, description="Name of the FederatedJob.")
    namespace: str = Field("default", validation_alias=names.ENV_NAMESPACE, description="Namespace of the job.")
    job_uid: str = Field(min_length=1, validation_alias=names.ENV_JOB_UID, description="Its uid: messages name it.")
    client: str = Field(
        min_length=1, validation_alias=names.ENV_CLIENT, description="Name of the FLClient that this site is."
    )
    aggregator_url: str = Field(
        pattern=r"^https://", validation_alias=names.ENV_AGGREGATOR_URL, description="Where the aggregator answers."
    )
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS),
        validation_alias=names.ENV_CREDENTIALS_DIR,
        description="The site's Secret: token and ca.crt.",
    )
    data_dir: Path = Field(
        Path(names.PATH_DATA),
        validation_alias=names.ENV_DATA_DIR,
        description="One folder per data volume of the FLClient.",
    )
    state_dir: Path = Field(
        Path(names.PATH_STATE),
        validation_alias=names.ENV_STATE_DIR,
        description="Checkpoints and updates not yet acknowledged.",
    )
    patience_s: float = Field(
        600.0, gt=0, validation_alias=ENV_PATIENCE_S, description="Seconds without the aggregator before giving up."
    )
    poll_s: float = Field(
        25.0, ge=0, le=60, validation_alias=ENV_POLL_S, description="Seconds that one question for work is held open."
    )
    checkpoint_every_s: float = Field(
        10.0,
        ge=0,
        validation_alias=ENV_CHECKPOINT_EVERY_S,
        description="Least seconds between two checkpoints of a local training; they are made at ends of epochs.",
    )

    @property
    def ca_file(self) -> Path:
        """PEM of the CA that signed the aggregator's certificate."""
        return self.credentials_dir / names.FILE_CA

    def token(self) -> SecretStr:
        """The site's bearer token."""
        path = self.credentials_dir / names.FILE_TOKEN
        try:
            token = path.read_text().strip()
        except OSError as error:
            raise BadSettings(f"token: {path} is not readable ({error.strerror}): mount the site's Secret") from None
        if not token:
            raise BadSettings(f"token: {path} is empty: mount the site's Secret")
        return SecretStr(token)


def shown(settings: TaskSettings) -> str:
    """One line for the log. Values of task arguments are left out: a user may have put a password there."""
    values = settings.model_dump(mode="json")
    values["task_args"] = sorted(values["task_args"])
    return json.dumps(values, sort_keys=True)


def termination_log() -> Path | None:
    """Where the one-line reason of a failing process goes; readable even when the settings are not."""
    value = os.environ.get(names.ENV_TERMINATION_LOG)
    return Path(value) if value else None
