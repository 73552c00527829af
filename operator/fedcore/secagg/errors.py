"""What can go wrong in a secure aggregation, by what to do next."""


class SecureAggregationError(Exception):
    """Base of all below; the message says what is wrong, and is fit for a log: no secret is in it."""


class RefusedError(SecureAggregationError):
    """The message breaks the protocol: its sender's fault. The state stays what it was."""


class SpentKeysError(SecureAggregationError):
    """The site's keys have masked other bytes: the site leaves this attempt, and takes part in the next one with new keys."""


class AttemptFailedError(SecureAggregationError):
    """No sum can be made of this attempt, and none is: the hub plans another one, for which all keys are new."""


class OutOfRangeError(SecureAggregationError):
    """A value that the ring does not hold: the site clips its update, or the job's limit is raised."""
