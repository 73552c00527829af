"""What carries a site's small messages, as control.py uses it: HTTPS, or a queue with HTTPS beside it.

An answer is a status and a body, as over HTTPS, whatever carried it.
"""

import logging
import time
from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

from pydantic import SecretStr

from fedtrainer.agent.link import Link
from fedtrainer.agent.patience import RetryError, SupersededError
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)
QUEUE_AGAIN_S = 60.0  # after which a queue that was silent is asked again, while HTTPS does


class Transport(Protocol):
    """Used from several threads."""

    def post(self, path: str, body: bytes, answer_s: float) -> tuple[int, bytes]:
        """Status and body of the answer. RetryError when there is none within `answer_s`."""

    def held_s(self, wait_s: float) -> float:
        """How long a question for work should be held that may be held for `wait_s` over HTTPS."""


class Https:
    """One site's way over connections that may be shared."""

    def __init__(self, link: Link, settings: TrainerSettings, token: SecretStr) -> None:
        self._link, self._path = link, f"/v1/sites/{quote(settings.client)}"
        self._headers = {"Authorization": f"Bearer {token.get_secret_value()}", "Content-Type": "application/json"}

    def post(self, path: str, body: bytes, answer_s: float) -> tuple[int, bytes]:
        """A request."""
        return self._link.post(f"{self._path}/{path}", self._headers, body, answer_s)

    def held_s(self, wait_s: float) -> float:
        """As asked: whoever is between the two may end a connection on which nothing comes."""
        return wait_s


class QueueFirst:
    """By the queue as long as that answers, else over HTTPS; the queue is tried again after a while, or when HTTPS fails."""

    def __init__(self, queue: Transport, https: Transport, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue, self._https, self._clock = queue, https, clock
        self._again_at = 0.0

    def post(self, path: str, body: bytes, answer_s: float) -> tuple[int, bytes]:
        """What fails by one way is for the caller to try again, by the other."""
        if self._clock() >= self._again_at:
            try:
                return self._queue.post(path, body, answer_s)
            except SupersededError:  # as the watch's question is by the next one after a training: the queue is well
                raise
            except RetryError as error:
                self._again_at = self._clock() + QUEUE_AGAIN_S
                raise RetryError(f"by the queue: {error}; goes on over HTTPS") from error
        try:
            return self._https.post(path, body, answer_s)
        except RetryError:
            self._again_at = 0.0
            raise

    def held_s(self, wait_s: float) -> float:
        """As the way that is taken now."""
        return (self._queue if self._clock() >= self._again_at else self._https).held_s(wait_s)
