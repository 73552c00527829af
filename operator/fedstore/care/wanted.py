"""What is wanted of a bucket, and what was found of it: values. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Self

from fedapi.crd.job_status import Topic

State = Literal["kept", "missing", "cannot", "unknown"]
_WAYS_OUT: Mapping[State, str] = MappingProxyType(
    {"kept": "", "missing": "", "cannot": "this server does not have it", "unknown": ""}
)


@dataclass(frozen=True)
class Wanted:
    """The care of one prefix of a bucket."""

    principals: tuple[str, ...] = ()  # of aggregators and backups; empty: whoever the account lets in
    administrators: tuple[str, ...] = ()  # may read and set the bucket up, and remove versions for good
    kms_key: str = ""  # empty: the store's own key
    # Of these four None is whatever somebody has set, as long as it is set; `init` is always told what to set.
    updates_days: int | None = 30  # updates that nobody deleted go after so many days; a round takes less
    noncurrent_days: int | None = 30  # what was deleted or replaced can be brought back for so many days
    cold_after_days: int | None = 90  # models that are tagged as superseded
    cold_class: str | None = "GLACIER_IR"  # of the cloud's
    regions: tuple[str, ...] = ()  # empty: anywhere
    replicate_to: str = ""  # ARN of a bucket
    replication_role: str = ""  # ARN

    @classmethod
    def by_whoever_set_it(cls, kms_key: str, regions: tuple[str, ...]) -> Self:
        """What a process wants that does not know which options `init` was given."""
        return cls((), (), kms_key, None, None, None, None, regions)


@dataclass(frozen=True)
class Finding:
    """Of one requirement. `settable`: `fedloom storage init` can bring it about."""

    what: str
    topic: Topic
    state: State
    remark: str = ""
    settable: bool = True

    @property
    def told(self) -> str:
        """The remark, with the way out."""
        way_out = (
            "`fedloom storage init` sets it" if self.state == "missing" and self.settable else _WAYS_OUT[self.state]
        )
        return "; ".join(filter(None, (self.remark, way_out)))
