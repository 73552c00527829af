"""What can go wrong with a queue, classed by what to do next.

QueueError
├── QueueUnavailableError     retry later: nobody answers, or the connection broke; what was not confirmed may be there
│   ├── QueueDeniedError      retry later, somebody must act: the broker refuses these credentials or this right
│   └── QueueMissingError     retry later, somebody must act: there is no such queue, and it may not be made
├── MessageTooLargeError      the sender's fault: it goes another way
└── UnknownQueuesError        the caller's fault: not a place where queues can be, or an extra that is not installed
"""


class QueueError(Exception):
    """Base of all errors of this package."""


class QueueUnavailableError(QueueError):
    """The broker does not answer."""


class QueueDeniedError(QueueUnavailableError):
    """The broker refuses."""


class QueueMissingError(QueueUnavailableError):
    """There is no such queue."""


class MessageTooLargeError(QueueError):
    """Over what every broker takes."""


class UnknownQueuesError(QueueError):
    """No adapter is for that kind of place."""
