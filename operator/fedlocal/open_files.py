"""This process' limit of open files: a site that waits for a shared trainer is a connection. Used by preflight.py and runner.py."""

import resource

OTHERS = 256  # open files beside the connections of waiting sites


def most() -> int | None:
    """How many the system lets this process have; None: as many as it likes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard


def allow() -> None:
    """Raises the limit as far as that."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
