"""Settings of the process: read once from the environment into a frozen object, printed at start.

Names are those of fedapi.names. Keys are not settings: the job's is read from the credentials folder, the stores' by
their adapters.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedapi import names
from fedbackup.errors import BadRequestError, Reason
from fedbackup.manifest import Signer


class Settings(BaseSettings):
    """What all steps need: the job, and where its backups are."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, case_sensitive=True)

    job: str = Field(validation_alias=names.ENV_JOB, description="Name of the FederatedJob.")
    namespace: str = Field(validation_alias=names.ENV_NAMESPACE, description="Its namespace.")
    job_uid: str = Field(validation_alias=names.ENV_JOB_UID, description="Its uid.")
    backup_store: str = Field(
        validation_alias=names.ENV_BACKUP_STORE, description="Where its backups are, said as a store is."
    )
    backup_credentials_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_BACKUP_CREDENTIALS_DIR,
        description="Folder of that store's Secret; absent: as the cloud's SDK finds credentials.",
    )
    termination_log: Path | None = Field(
        None, validation_alias=names.ENV_TERMINATION_LOG, description="File for one line of why the process ended."
    )
    log_level: str = Field("INFO", validation_alias="FEDLOOM_LOG_LEVEL", description="Least level that is logged.")
    thaw_patience_s: float = Field(
        172_800.0,
        ge=0,
        validation_alias="FEDLOOM_THAW_PATIENCE_S",
        description="Seconds that are waited for objects of a cold class.",
    )


class SigningSettings(Settings):
    """What the steps need that sign what they say, and tell the job's status."""

    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS),
        validation_alias=names.ENV_CREDENTIALS_DIR,
        description="Folder with the job's key.",
    )
    status: str = Field("kubernetes", validation_alias=names.ENV_STATUS, description="`kubernetes` or `file:PATH`.")

    def signer(self) -> Signer:
        """By the job's key. BadRequestError names what is missing."""
        path = self.credentials_dir / names.FILE_JOB_KEY
        try:
            key = path.read_bytes()
        except OSError as error:
            raise BadRequestError(Reason.BAD_SETTINGS, f"{path} cannot be read ({error.strerror})") from error
        if len(key) != 32:
            raise BadRequestError(Reason.BAD_SETTINGS, f"{path} has {len(key)} bytes, 32 are needed")
        return Signer(key)


class CreateSettings(SigningSettings):
    """Settings of `create`."""

    store: str = Field(names.PATH_STORE, validation_alias=names.ENV_STORE, description="Where the job's store is.")
    store_credentials_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_STORE_CREDENTIALS_DIR,
        description="Folder of that store's Secret; absent: as the cloud's SDK finds credentials.",
    )
    config_file: Path = Field(
        Path(names.PATH_CONFIG) / names.CONFIG_FILE,
        validation_alias=names.ENV_CONFIG_FILE,
        description="JobConfig, JSON: which sites the job has.",
    )
    objects: str = Field(
        "",
        validation_alias=names.ENV_BACKUP_OBJECTS,
        description="Where FederatedJob and FLClients are read: `kubernetes`, `file:FOLDER`; empty: nowhere.",
    )
    keep_last: int | None = Field(
        None, ge=1, validation_alias=names.ENV_BACKUP_KEEP_LAST, description="Backups that stay; absent: all."
    )
    cold_after_days: int | None = Field(
        None,
        ge=1,
        validation_alias=names.ENV_BACKUP_COLD_AFTER_DAYS,
        description="Days after which older models go to the cold class; absent: never.",
    )


class VerifySettings(SigningSettings):
    """Settings of `verify`."""

    name: str = Field("", validation_alias=names.ENV_BACKUP_NAME, description="Which backup; empty: the newest.")
    metric: str = Field(
        "", validation_alias=names.ENV_BACKUP_METRIC, description="Which is compared; empty: the headline."
    )
    tolerance: float | None = Field(
        None,
        ge=0,
        validation_alias=names.ENV_BACKUP_TOLERANCE,
        description="How far it may be from what was recorded; absent: it is not compared.",
    )
    verify_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_VERIFY_DIR,
        description="Folder that the container which evaluates shares; absent: nothing is evaluated.",
    )
    evaluation_patience_s: float = Field(
        1800.0, gt=0, validation_alias="FEDLOOM_EVALUATION_PATIENCE_S", description="Seconds that its answer may take."
    )


class RestoreSettings(Settings):
    """Settings of `restore`: the job is the new one."""

    store: str = Field(names.PATH_STORE, validation_alias=names.ENV_STORE, description="Where the new job's store is.")
    store_credentials_dir: Path | None = Field(
        None,
        validation_alias=names.ENV_STORE_CREDENTIALS_DIR,
        description="Folder of that store's Secret; absent: as the cloud's SDK finds credentials.",
    )
    restore_from: str = Field(
        min_length=1,
        validation_alias=names.ENV_RESTORE_FROM,
        description="`NAMESPACE/JOB`, `NAMESPACE/JOB-UID`, or the key of a backup.",
    )
    round: int | None = Field(
        None, ge=0, validation_alias=names.ENV_RESTORE_ROUND, description="Up to which round; absent: the last."
    )
    rounds: int | None = Field(
        None,
        ge=1,
        validation_alias=names.ENV_ROUNDS,
        description="Rounds of the new job: where they are more than a finished one had, it goes on.",
    )
    public_key: str = Field(
        "",
        pattern=r"^([0-9a-f]{64})?$",
        validation_alias=names.ENV_BACKUP_PUBLIC_KEY,
        description="Ed25519 key, hex, that must have signed it; empty: any.",
    )
