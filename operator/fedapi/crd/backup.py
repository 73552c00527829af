"""`spec.backup` and `spec.restoreFrom`: when a job is copied to a second store, how that is proved, what a new job begins with.

Used by federatedjob.py, by the operator's rendering and by fedbackup, which reads them from the environment that the
operator makes of them.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from fedapi.crd.fields import Decimal, Name, Part, rule, rules
from fedapi.crd.podfields import Resources
from fedapi.crd.sitedata import Data
from fedapi.crd.storage import S3, Azure, Bucket, Destination, Gcs

_MONTHS = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _column(number: str) -> str:
    """A column of a schedule: numbers, ranges and steps between commas."""
    part = rf"([*?]|({number})(-({number}))?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


_COLUMNS = (
    "[0-5]?[0-9]",
    "[01]?[0-9]|2[0-3]",
    "0?[1-9]|[12][0-9]|3[01]",
    f"0?[1-9]|1[0-2]|{_MONTHS}",
    f"[0-6]|{_DAYS}",
)
SCHEDULE_PATTERN = f"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|{' '.join(map(_column, _COLUMNS))})$"
Schedule = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        json_schema_extra=rules(
            rule(
                f"self.matches('{SCHEDULE_PATTERN}')",
                "must be minute, hour, day of the month, month and day of the week in UTC, for example '0 3 * * *', or @daily",
            )
        ),
    ),
]


class Verify(Part):
    """The newest backup restored into a throw-away place, and the model in it measured."""

    schedule: Schedule = Field(description="When, in UTC, as a CronJob's.")
    data: Data | None = Field(
        None,
        description="A sandbox set, as an FLClient has its data: the restored model is evaluated on it by the task. Absent: "
        "what was restored is compared by its digests alone.",
    )
    metric: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None, description="The metric that is compared; absent: the job's headline metric. With data."
    )
    tolerance: Decimal = Field(
        "0.05",
        description="How far the metric on the sandbox set may be from the one that the sites had measured, either way; a "
        "decimal string.",
    )
    resources: Resources | None = Field(None, description="Compute resources of the container that evaluates.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.metric) || has(self.data)",
                "metric needs data, on which it is measured: add a sandbox set or remove metric",
                ".metric",
            ),
            rule("double(self.tolerance) >= 0.0", "tolerance must not be below 0: remove the sign", ".tolerance"),
        )
    )


class Backup(Part):
    """Copies of the job in a second store, and the proof that they restore."""

    schedule: Schedule | None = Field(None, description="When a backup is made, in UTC, as a CronJob's.")
    every_rounds: int | None = Field(
        None, ge=1, le=100000, description="A backup is made, too, whenever this many further rounds are committed."
    )
    destination: Destination = Field(
        default_factory=Destination, description="The second store. Absent: a volume of its own."
    )
    keep_last: int = Field(
        7, ge=1, le=10000, description="How many backups are kept; what a kept one needs is never deleted."
    )
    cold_after_days: int | None = Field(
        None,
        ge=1,
        le=3650,
        description="Days after which the objects of a backup move to the bucket's cold class (Glacier, Coldline, Archive); "
        "to restore them then takes a thaw of hours. Absent: never.",
    )
    suspend: bool = Field(False, description="True: no backup is made and none is verified.")
    verify: Verify | None = Field(None, description="When and how the newest backup is proved. Absent: it is not.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.schedule) || has(self.everyRounds)", "backup needs schedule or everyRounds: set at least one"
            ),
            rule(
                "!has(self.coldAfterDays) || has(self.destination.s3) || has(self.destination.gcs) || "
                "has(self.destination.azure)",
                "coldAfterDays needs a bucket, because a volume has no cold class: remove it or name a bucket in destination",
                ".coldAfterDays",
            ),
        )
    )


class BackupClaim(Part):
    """A PersistentVolumeClaim that is the destination of backups."""

    claim_name: Name = Field(
        description="Name of the claim: status.children.backupClaim of the job that was backed up."
    )


class RestoreSource(Part):
    """The store that holds backups."""

    persistent_volume_claim: BackupClaim | None = Field(None, description="A claim of this namespace that holds them.")
    s3: S3 | None = Field(None, description="A bucket of Amazon S3, or of a store that speaks its protocol.")
    gcs: Gcs | None = Field(None, description="A bucket of Google Cloud Storage.")
    azure: Azure | None = Field(None, description="A container of Azure Blob Storage.")

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "[has(self.persistentVolumeClaim), has(self.s3), has(self.gcs), has(self.azure)]"
                ".filter(there, there).size() == 1",
                "source needs persistentVolumeClaim, s3, gcs or azure, one of them",
            )
        )
    )

    @property
    def bucket(self) -> Bucket | None:
        """The bucket; None: a volume."""
        return self.s3 or self.gcs or self.azure


class RestoreFrom(Part):
    """The backup that a new job begins with, instead of an initial model."""

    source: RestoreSource = Field(description="Where the backups are: what was the destination of the lost job.")
    backup: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = Field(
        description="`<namespace>/<job>` of the job that was backed up, for its newest backup; with `-<uid>` behind it where "
        "several had that name; or the key of a backup's manifest (status.backup.object, `fedloom backup list`).",
    )
    round: int | None = Field(
        None,
        ge=0,
        le=100000,
        description="The last committed round that is restored; absent: the newest in the backup.",
    )
    public_key: Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None,
        description="Ed25519 key, in hexadecimal digits, that must have signed it (status.backup.publicKey of the job that "
        "was backed up). Absent: it must be signed, by whatever key.",
    )
