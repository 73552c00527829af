"""What ends the aggregator or refuses a site, classed by what to do next.

AggregatorError
├── FatalError              the process ends with an exit code of fedapi.outcome and one line for a person
├── DamagedError            an object of the store is not what was written: who reads it decides what that means
├── RequestRefusedError     the site's request is answered with a wire Refusal
├── WorkCancelledError      a fold or an encoding stops with the process: it is made anew after the restart
├── BodyEndedError          a body cannot go on: its client is gone, or too slow
├── EvidenceUnavailableError  the guest's agent, or the verifier, gives no answer
├── StatusUnavailableError  retry later: the status could not be written, a Lease not read or renewed
└── LeaseConflictError      the job's Lease is not as it was read: read it again
"""

from collections.abc import Mapping

from pydantic import ValidationError

from fedapi.outcome import Exit
from fedapi.wire.site import Refusal
from fedstore.errors import (
    HeadMovedError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    UnfitStoreError,
    UnknownStoreError,
)

_SHOWN = 10  # faults in one line
REPAIR = (
    "put it back from a copy, or run `fedloom store repair JOB` (of a local run with --workdir), which "
    "goes back to the newest round that is whole"
)


class AggregatorError(Exception):
    """Base of all errors of this package."""


class FatalError(AggregatorError):
    """The process cannot go on."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code


class DamagedError(AggregatorError):
    """Objects that are not what was written: by key, what is wrong with each."""

    def __init__(self, found: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{key}: {what}" for key, what in sorted(found.items())))
        self.found = found


class UndecodableError(DamagedError):
    """What is kept may be what was sent, but no encoder has made it."""


class StoreDamagedError(FatalError):
    """Nothing can be built on what the store holds until somebody acts."""

    def __init__(self, message: str, way_out: str = REPAIR) -> None:
        super().__init__(Exit.STORE_DAMAGED, f"the store is damaged: {message}: {way_out}")


class SupersededError(FatalError):
    """Another process decides about the job now."""

    def __init__(self) -> None:
        super().__init__(Exit.SUPERSEDED, "an aggregator with a newer epoch took over")


class TooOldError(FatalError):
    """The job or its store says what only a newer version knows. Nothing is damaged, and nothing was changed."""

    def __init__(self, message: str) -> None:
        super().__init__(Exit.TOO_OLD, f"this version of Fedloom is too old: {message}")


def store_failed(error: StoreError) -> FatalError:
    """What ends the process when the store was full, or failed, for too long."""
    if isinstance(error, UnknownStoreError):
        return FatalError(Exit.BAD_SETTINGS, f"the store: {error}")
    if isinstance(error, HeadMovedError):
        return SupersededError()
    if isinstance(error, UnfitStoreError):
        return FatalError(Exit.STORE_UNFIT, f"the store cannot be used: {error}")
    if isinstance(error, StoreDeniedError):
        way_out = "look at its credentials, at the bucket's policy, and at the rights to the key that encrypts"
        return FatalError(Exit.STORE_DENIED, f"the store denies access: {error}: {way_out}")
    if isinstance(error, StoreFullError):
        return FatalError(
            Exit.STORE_FAILED, f"the store cannot be written: {error}: enlarge its volume or quota, or free space on it"
        )
    return FatalError(
        Exit.STORE_FAILED,
        f"the store fails: {error}: look at its volume and the node that it is on, or at the object store and the way to it",
    )


class RequestRefusedError(AggregatorError):
    """A request of a site is not taken."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.code}: {refusal.message}")
        self.refusal = refusal


class WorkCancelledError(AggregatorError):
    """The process is stopping; what was under way is made anew after the restart."""


class BodyEndedError(AggregatorError):
    """A body did not come, or was not read, to its end. `stalled`: the client is there, and too slow."""

    def __init__(self, *, stalled: bool) -> None:
        super().__init__("too slow" if stalled else "the connection is over")
        self.stalled = stalled


class EvidenceUnavailableError(AggregatorError):
    """There is no evidence, or nobody who appraises it. Whoever needs it goes no further."""


class StatusUnavailableError(AggregatorError):
    """The status could not be written; it is written again later. `code`: what was answered, 0 where nothing was."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class LeaseConflictError(AggregatorError):
    """Somebody else has written the Lease."""


def faults(error: ValidationError) -> str:
    """What a message, a setting or a configuration does wrong, in one line: its first fields, each with its fault."""
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:_SHOWN])
