"""What can go wrong in the harness, classed by what the reader does next.

Raised by every module here, turned into one line and an exit status by `__main__`. No logic here.
"""


class ClusterError(Exception):
    """Something failed while running: exit status 1, the message names the log to read."""


class NoAnswerError(ClusterError):
    """A server does not answer, or not now: asked once more it may."""


class CannotRunError(ClusterError):
    """This machine lacks something: exit status 2, the message names it and the way out."""
