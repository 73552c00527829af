"""Errors of the trainer, classed by what to do next. Raised everywhere here, mapped to exit codes in __main__.

StopError: the process ends with `exit` and tells why in one line. SkipError: the work at hand is void, the process asks
for the next. What the network does in between (retry) is no error until patience is over.
"""

from fedapi.outcome import Exit


class TrainerError(Exception):
    """Root of the tree."""


class StopError(TrainerError):
    """The process ends; `exit` is its code."""

    exit = Exit.TASK_FAILED


class BadSettingsError(StopError):
    """A setting is missing or malformed."""

    exit = Exit.BAD_SETTINGS


class TaskImportError(StopError):
    """The entrypoint does not import, or its factory fails."""

    exit = Exit.TASK_IMPORT


class DataMissingError(StopError):
    """This site's data is absent or unreadable. Name the path that was looked for."""

    exit = Exit.DATA_MISSING


class SiteStateError(DataMissingError):
    """What the site has kept from its last committed update is damaged or lost. Name the file and the way out."""


class RefusedError(StopError):
    """The aggregator does not know this site or its token."""

    exit = Exit.REFUSED


class TaskInvalidError(StopError):
    """The task breaks its contract. The message says what and how to mend it."""

    exit = Exit.TASK_INVALID


class CollectiveMissingError(StopError):
    """The image lacks what pool.collective or pool.backend asks for."""

    exit = Exit.COLLECTIVE_MISSING


class DataDiffersError(StopError):
    """The ranks of the site see different data. Name the ranks and what differs."""

    exit = Exit.DATA_DIFFERS


class PeerUnreachableError(StopError):
    """A worker of the site cannot be reached. Name it and its address."""

    exit = Exit.PEER_UNREACHABLE


class RingBrokenError(StopError):
    """Another rank has ended or does not answer: this process ends, its launcher joins the next generation."""

    exit = Exit.RING_BROKEN


class TaskFailedError(StopError):
    """The task's own code raised."""

    exit = Exit.TASK_FAILED


class NotAttestedError(StopError):
    """The aggregator did not prove that it is what the site demands, or nobody could say so. Name what was not as it should be."""

    exit = Exit.NOT_ATTESTED


class AggregatorLostError(StopError):
    """The aggregator stayed unreachable for longer than the trainer's patience."""

    exit = Exit.AGGREGATOR_LOST


class SkipError(TrainerError):
    """The work at hand ends without a result; the process goes on."""


class DroppedError(SkipError):
    """The aggregator no longer wants this work (stale round, quorum reached, duplicate)."""


class LinkExpiredError(SkipError):
    """An expiring URL is over or its object is gone: ask for a new one."""


class GoneError(LinkExpiredError):
    """The object of a URL that is not over is in the store no more. The hub, which nobody asked, knows nothing of it."""


class RejectedError(SkipError):
    """The aggregator will not take this content; sending it again cannot help. `code` is the refusal's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class BudgetSpentError(SkipError):
    """The site's updates have told as much of a record as the job lets them: it trains no more in this job."""


class NotPrivateError(SkipError):
    """The update would tell more of the site than it allows. Name the demand and what is asked for."""


class DivergedError(SkipError):
    """The loss or the update is not finite."""


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived. No Exception, so that a task's `except Exception` does not swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
