"""What a command can fail with besides fedlocal's errors. Caught in __main__.py, printed as one line."""


class CommandError(Exception):
    """A command cannot do what it was asked; the text says why and the way out."""


class ClusterError(CommandError):
    """The cluster refuses, or does not answer."""
