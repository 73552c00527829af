"""Settings by which a site is seen by the registry: read for its heartbeat alone."""

import json
import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator

from fedapi import names
from fedapi.wire.registry import Labels
from fedtrainer.environment import FromEnvironment, read_token


class HeartbeatSettings(FromEnvironment):
    """What a site needs to be seen by the registry."""

    registry_url: str = Field(
        pattern=r"^https://", validation_alias=names.ENV_REGISTRY_URL, description="Where the registry answers."
    )
    namespace: str = Field("default", validation_alias=names.ENV_NAMESPACE, description="Namespace of the FLClient.")
    client: str = Field(min_length=1, validation_alias=names.ENV_CLIENT, description="Name of the FLClient.")
    credentials_dir: Path = Field(
        Path(names.PATH_CREDENTIALS),
        validation_alias=names.ENV_CREDENTIALS_DIR,
        description="Folder with registry.token and ca.crt.",
    )
    accelerator: str = Field(
        "CPU",
        max_length=63,
        validation_alias=names.ENV_ACCELERATOR,
        description="What the site trains on, in words of its own; CPU: nothing is said.",
    )
    ring_slots: int = Field(1, ge=1, validation_alias=names.ENV_RING_SLOTS, description="Ranks (processes) per worker.")
    organization: str = Field(
        "", max_length=253, validation_alias="FEDLOOM_ORGANIZATION", description="Who owns the site's data."
    )
    labels: Labels = Field(
        default_factory=dict,
        validation_alias="FEDLOOM_LABELS",
        description="What the site says of itself, a JSON object of strings: the registry's policy may go by it.",
    )

    @field_validator("labels", mode="before")
    @classmethod
    def _parsed_labels(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError as error:
            raise ValueError(f"is not JSON ({error})") from None

    @classmethod
    def told(cls) -> Self | None:
        """Where the environment names a registry, and there is a token for it; None otherwise."""
        if not os.environ.get(names.ENV_REGISTRY_URL):
            return None
        settings = cls.read()
        return settings if (settings.credentials_dir / names.FILE_REGISTRY_TOKEN).is_file() else None

    @property
    def said_accelerator(self) -> str | None:
        """For the registry: None with CPU alone."""
        if self.accelerator == "CPU":
            return None
        return self.accelerator if self.ring_slots == 1 else f"{self.accelerator} x{self.ring_slots}"[:63]

    @property
    def ca_file(self) -> Path:
        """PEM of the CA that signed the registry's certificate."""
        return self.credentials_dir / names.FILE_CA

    def token(self) -> SecretStr:
        """The bearer token, as it is now."""
        return read_token(self.credentials_dir / names.FILE_REGISTRY_TOKEN)
