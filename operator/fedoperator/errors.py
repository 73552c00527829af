"""What can go wrong in the operator's shell, classed by what to do next. Raised by cluster/, read by workers and main.

OperatorError
├── RetryLaterError       the API server or the network: try the same again, with back-off
├── AwaitedError          what somebody else makes is not there yet: look again soon, say nothing
├── RefusedError          the API server will not have this object: tell the user, do not hammer
├── ForeignError          the name is taken by an object of somebody else: never touch it, tell the user
├── GoneError             the object or its namespace is going away: say nothing, do nothing
├── UnauthorizedError     the operator's own credentials do not work: the process ends
└── SettingsInvalidError  the operator's own settings do not work: the process ends
"""


class OperatorError(Exception):
    """Anything that the operator's shell raises on purpose."""


class RetryLaterError(OperatorError):
    """Conflict, throttling, server error or time-out. `after_s`: the least that the server asked to wait."""

    def __init__(self, message: str, after_s: float = 0.0, *, conflict: bool = False) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.conflict = conflict


class AwaitedError(OperatorError):
    """Something that another controller makes is not there yet. `after_s`: when to look again."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class RefusedError(OperatorError):
    """A write that will be refused again until somebody changes something. The message is the API server's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ForeignError(OperatorError):
    """An object that is not ours has the name that a child needs. The message says which, and the way out."""


class GoneError(OperatorError):
    """The object, or the namespace that it is in, is gone or being deleted."""


class UnauthorizedError(OperatorError):
    """401: the service account's token or the kubeconfig is not accepted."""


class SettingsInvalidError(OperatorError):
    """A setting of the process is missing or malformed; the message names it."""
