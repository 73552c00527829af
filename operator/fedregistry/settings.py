"""The process's settings: read once from the environment into a frozen object, printed at start.

Keys are not settings: they are files of the credentials folder, which the operator fills (a Secret).
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedapi import names

PREFIX = "FEDLOOM_REGISTRY_"


class Settings(BaseSettings):
    """Everything that may differ between two registries."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", case_sensitive=False)

    table: str = Field(description="Name of the table of DynamoDB.", min_length=3, max_length=255)
    region: str = Field("", description="Region of the table; empty: as the SDK finds it in its environment.")
    endpoint: str = Field("", description="URL of a DynamoDB of one's own; empty: Amazon's of the region.")
    create_table: bool = Field(
        False, description="Make the table where it is absent. Needs rights that heartbeats do not."
    )
    table_credentials_dir: Path | None = Field(
        None, description="Folder with the credentials of the table, a file per variable; none: the SDK's own chain."
    )
    backup_every_hours: float = Field(
        24.0, ge=0, description="Hours between two backups of the table by DynamoDB itself; 0: it makes none."
    )
    backup_keep_last: int = Field(7, ge=1, le=1000, description="How many of these backups stay.")
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS), description="Folder of its Secret: registry.key, tls.crt, tls.key."
    )
    generations_file: Path | None = Field(
        None,
        description="JSON object: client id to the generation of its token. Read again when it changes; none: 0 for all.",
    )
    host: str = Field("::", description="Address to bind; `::` is every address, of IPv6 and of IPv4.")
    port: int = Field(names.REGISTRY_PORT, ge=0, le=65535, description="HTTPS port of heartbeats.")
    monitoring_port: int = Field(
        names.REGISTRY_MONITORING_PORT, ge=0, le=65535, description="HTTP port of /healthz, /readyz and /metrics."
    )
    scan_s: float = Field(
        30.0, gt=0, description="Seconds between two readings of the table, from which the operator is answered."
    )
    log_level: str = Field("INFO", description="Least level that is logged.")
