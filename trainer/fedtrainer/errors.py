"""Errors of the trainer, classed by what to do next. Raised everywhere here, mapped to exit codes in __main__.

Stop: the process ends with `exit` and tells why in one line. Skip: the work at hand is void, the process asks
for the next. What the network does in between (retry) is no error until patience is over.
"""

from fedapi.outcome import Exit


class TrainerError(Exception):
    """Root of the tree."""


class Stop(TrainerError):  # noqa: N818 - named for what to do next
    """The process ends; `exit` is its code."""

    exit = Exit.TASK_FAILED


class BadSettings(Stop):
    """A setting is missing or malformed."""

    exit = Exit.BAD_SETTINGS


class TaskImport(Stop):
    """The entrypoint does not import, or its factory fails."""

    exit = Exit.TASK_IMPORT


class DataMissing(Stop):
    """This site's data is absent or unreadable. Name the path that was looked for."""

    exit = Exit.DATA_MISSING


class Refused(Stop):
    """The aggregator does not know this site or its token."""

    exit = Exit.REFUSED


class TaskInvalid(Stop):
    """The task breaks its contract. The message says what and how to mend it."""

    exit = Exit.TASK_INVALID


class CollectiveMissing(Stop):
    """The image lacks what pool.collective or pool.backend asks for."""

    exit = Exit.COLLECTIVE_MISSING


class DataDiffers(Stop):
    """The ranks of the site see different data. Name the ranks and what differs."""

    exit = Exit.DATA_DIFFERS


class PeerUnreachable(Stop):
    """A worker of the site cannot be reached. Name it and its address."""

    exit = Exit.PEER_UNREACHABLE


class RingBroken(Stop):
    """Another rank has ended or does not answer: this process ends, its launcher joins the next generation."""

    exit = Exit.RING_BROKEN


class TaskFailed(Stop):
    """The task's own code raised."""

    exit = Exit.TASK_FAILED


class AggregatorLost(Stop):
    """The aggregator stayed unreachable for longer than the trainer's patience."""

    exit = Exit.AGGREGATOR_LOST


class Skip(TrainerError):  # noqa: N818 - named for what to do next
    """The work at hand ends without a result; the process goes on."""


class Dropped(Skip):
    """The aggregator no longer wants this work (stale round, quorum reached, duplicate)."""


class LinkExpired(Skip):
    """An expiring URL is over or its object is gone: ask for a new one."""


class Rejected(Skip):
    """The aggregator will not take this content; sending it again cannot help. `code` is the refusal's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


class Diverged(Skip):
    """The loss or the update is not finite."""


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived. No Exception, so that a task's `except Exception` does not swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
