"""Data that a task sees, on volumes that users name: a site's own, or the sandbox set of a verified backup.

Used by flclient.py and backup.py.
"""

import re
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from fedapi import names
from fedapi.crd.fields import Name, Part, listed_by, rule, rules
from fedapi.crd.podfields import EnvVar

_STORE = (
    "claims named …-store-… with 8 hexadecimal digits are stores of FederatedJobs, with what other sites sent: "
    "name a claim of the site's own"
)


def _no_store(text: str) -> str:
    """As the rule of the schema: objects that were stored before it had that rule are refused here."""
    if re.search(names.STORE_CLAIM_PATTERN, text):
        raise ValueError(_STORE)
    return text


class ClaimSource(Part):
    """A PersistentVolumeClaim of the site's namespace."""

    claim_name: Annotated[Name, AfterValidator(_no_store)] = Field(
        description="Name of the claim; never the store of a FederatedJob, which holds what other sites sent.",
        json_schema_extra=rules(rule(f"!self.matches('{names.STORE_CLAIM_PATTERN}')", _STORE)),
    )


class ConfigMapSource(Part):
    """A ConfigMap of the site's namespace."""

    name: Name = Field(description="Name of the ConfigMap.")


class DataVolume(Part):
    """A volume of the site's own data, mounted read-only at /data/<name>."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="Folder below the data directory that the task sees."
    )
    persistent_volume_claim: ClaimSource | None = Field(None, description="Data on a volume.")
    config_map: ConfigMapSource | None = Field(None, description="Data small enough for a ConfigMap (1 MiB).")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.persistentVolumeClaim) != has(self.configMap)",
                "a data volume needs persistentVolumeClaim or configMap, one of them",
            )
        )
    )


class Data(Part):
    """The site's own data. It never leaves the site."""

    volumes: Annotated[list[DataVolume], Field(max_length=16, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Volumes with the data, read-only in training pods."
    )
    env: Annotated[list[EnvVar], Field(max_length=32, json_schema_extra=listed_by("name"))] = Field(
        default_factory=list, description="Environment variables of the task at this site."
    )
