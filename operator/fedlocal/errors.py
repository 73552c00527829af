"""What can end a local run, classed by who has to act. Raised anywhere in fedlocal, printed by fedcli."""

from dataclasses import dataclass


class LocalError(Exception):
    """Base of the embedded runner's errors; the text is for the user."""


class BadInputError(LocalError):
    """The user's manifests, folders or options are wrong: nothing was started."""

    def __init__(self, problems: "list[Problem] | str") -> None:
        self.problems = [] if isinstance(problems, str) else problems
        super().__init__(problems if isinstance(problems, str) else "\n".join(map(str, problems)))


class StateBusyError(LocalError):
    """Another run holds the state folder."""


class StateBrokenError(LocalError):
    """The state folder or the store in it is unreadable or contradicts itself."""


class MachineError(LocalError):
    """This machine refuses something that a run needs: a file, a process, memory. What was committed is kept."""


class ApiError(LocalError):
    """The in-memory API server refuses an object, as the real one would (a bug of whoever applied it)."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one manifest."""

    where: str  # file and object
    path: str  # field path
    message: str

    def __str__(self) -> str:
        """One line: file, object, field, what and the way out."""
        return f"{self.where}: {self.path + ': ' if self.path else ''}{self.message}"
