"""By which way a site speaks to its aggregator: HTTPS, or a queue before it. Called by work.py."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from fedtrainer.agent.link import Link
from fedtrainer.agent.transport import Https, QueueFirst, Transport
from fedtrainer.settings import TrainerSettings


@contextmanager
def transport(settings: TrainerSettings, link: Link) -> Iterator[Transport]:
    """HTTPS, or the queue before it where the site has one."""
    https = Https(link, settings, token := settings.token())
    if not settings.queues:
        yield https
        return
    from fedtrainer.agent.queued import QueuedTransport  # noqa: PLC0415 - of an extra that a site without queues lacks

    with closing(QueuedTransport(settings, token)) as queue:
        yield QueueFirst(queue, https)
