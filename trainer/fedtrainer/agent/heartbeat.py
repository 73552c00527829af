"""Heartbeats to the registry: a thread that says once a minute that the site is there, and what it has.

Used by work.py around a site's work, where the environment says where the registry is, and alone by
`python -m fedtrainer heartbeat`, for a site that is to be seen while nothing runs there. A registry that does not answer is told in
the log and never disturbs the work.
"""

import logging
import random
import threading
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from fedapi.wire.registry import HEARTBEAT, Capability, Heartbeat
from fedtrainer.agent.hub_context import HubContext
from fedtrainer.agent.link import Link
from fedtrainer.agent.patience import RetryError
from fedtrainer.capability import cpus, memory
from fedtrainer.errors import BadSettingsError
from fedtrainer.heartbeat_settings import HeartbeatSettings

log = logging.getLogger(__name__)
EVERY_S = 60.0
_ANSWER_S = 20.0
_jitter = random.SystemRandom()  # tasks seed the global generator; sites must not beat in step


class Beating:
    """Context manager: the thread lives as long as its block. Without settings it does nothing."""

    def __init__(self, settings: HeartbeatSettings | None, every_s: float = EVERY_S) -> None:
        self._settings, self._every_s = settings, every_s
        self._over = threading.Event()
        self._silent = ""  # why the last one was not taken

    def __enter__(self) -> Self:
        if self._settings is not None:
            threading.Thread(target=self.beat, args=(self._settings,), name="heartbeat", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()

    def beat(self, settings: HeartbeatSettings) -> None:
        """Until the block ends."""
        link: Link | None = None
        while not self._over.is_set():
            try:
                link = link or Link(settings.registry_url, HubContext(settings.credentials_dir, shows=False))
                self._said(self._once(settings, link))
            except (BadSettingsError, RetryError) as error:
                self._said(str(error))
            self._over.wait(self._every_s * _jitter.uniform(0.9, 1.1))
        if link is not None:
            link.close()

    def _once(self, settings: HeartbeatSettings, link: Link) -> str:
        """One heartbeat; why it was not taken. The token is read each time: it may have been replaced."""
        client_id = f"{settings.namespace}/{settings.client}"
        try:
            message = Heartbeat(
                client_id=client_id,
                capability=Capability(cpu=cpus(), memory=memory(), accelerator=settings.said_accelerator),
                organization=settings.organization or None,
                labels=settings.labels,
            )
        except ValidationError as error:  # FLClients may have longer names than the registry's sites
            (first, *_) = error.errors()
            wrong = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise BadSettingsError(f"{client_id} cannot be a site of the registry: {wrong}") from error
        token = settings.token().get_secret_value()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        status, body = link.post(HEARTBEAT, headers, message.model_dump_json(exclude_none=True).encode(), _ANSWER_S)
        return "" if status == 200 else f"{status} {body[:300].decode(errors='replace')}"

    def _said(self, why: str) -> None:
        """In the log once for each change."""
        if why and why != self._silent:
            log.warning("the registry at %s took no heartbeat: %s", self._settings and self._settings.registry_url, why)
        elif self._silent and not why:
            log.info("the registry takes heartbeats again")
        self._silent = why
