"""The real aggregator in this process: its own `serve` in a thread, real TLS, objects in memory. Used by both sides' tests.

`Hub` is a job of it behind a line that can fail (faults.py): what a site's tests speak to.
"""

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest import mock

import httpx
from safetensors.numpy import load

from fedaggregator.__main__ import serve
from fedaggregator.limits import Limits
from fedaggregator.settings import Settings
from fedapi import names
from fedapi.wire.tokens import site_token
from fedapi.wire.update import HandedUpdate, UpdateManifest
from tests.integration.fedaggregator.harness import JOB_KEY, UID, JobFolder, Tensors, config, https
from tests.integration.fedaggregator.harness import Site as Scripted
from tests.integration.protocol.faults import Line
from tests.waiting import PATIENCE_S, until


class _Loop(asyncio.SelectorEventLoop):
    """Signals are the main thread's: what SIGTERM would call is kept for `Application.stop`."""

    on_signal: Callable[..., Any] | None = None

    def add_signal_handler(self, sig: int, callback: Callable[..., Any], *args: Any) -> None:
        self.on_signal = callback


class Application:
    """One life of the aggregator. A second one over the same JobFolder is a restart: it finds the same store."""

    def __init__(self, job: JobFolder) -> None:
        self.job = job
        self.error: BaseException | None = None
        with mock.patch.dict("os.environ", job.env(), clear=True):
            self._settings, self._limits = Settings(), Limits()
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._run, name="aggregator", daemon=True)

    def start(self) -> "Application":
        self._thread.start()
        with https(self.job) as client:
            until(lambda: self.error or client.get("/").status_code, not_yet=(httpx.TransportError,))
        assert self.error is None, self.error
        return self

    def stop(self) -> None:
        """As SIGTERM does; an error that ended it before fails the test."""
        if self._thread.is_alive() and self._loop.on_signal is not None:
            self._loop.call_soon_threadsafe(self._loop.on_signal)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self.error is None, self.error

    async def _served(self) -> None:
        """What the end of the process would do to connections that sites keep open is done here."""
        try:
            await serve(self._settings, self._limits)
        finally:
            for transport in [*self._loop._transports.values()]:
                transport.abort()
            await asyncio.sleep(0)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._served())
        except BaseException as error:  # noqa: BLE001 - shown by the test
            self.error = error


class Hub:
    """A job's aggregator and the line to it. It plans its first round once it has a model and knows its sites."""

    def __init__(
        self,
        folder: Path,
        clients: tuple[str, ...] = ("site-a",),
        *,
        url_lifetime_s: float = 600,
        inline: bool = True,
        env: Mapping[str, str] = MappingProxyType({}),
        **values: Any,
    ) -> None:
        """Not `inline`: models and updates go by URL, however small they are."""
        self.job = JobFolder(folder, config(clients, **{"rounds": 1} | values), model=None)
        self.line = Line(folder / "credentials", self.job.port)
        self.job.extra_env = {
            names.ENV_STORE: f"memory:{folder}",
            names.ENV_PUBLIC_URL: self.line.url,
            "FEDLOOM_URL_LIFETIME_S": str(url_lifetime_s),
            "FEDLOOM_HTTP_INLINE_BYTES": str((64 << 10) * inline),
            **env,
        }
        self._application = Application(self.job).start()

    @property
    def url(self) -> str:
        return self.line.url

    @property
    def ca(self) -> Path:
        return self.job.root / "credentials" / names.FILE_CA

    def token(self, client: str) -> str:
        return site_token(JOB_KEY, client)

    def give(self, model: Path) -> None:
        """The initial model: rounds begin."""
        self.job.write_initial(model.read_bytes())
        self.job.hand_in(url=self.job.extra_env[names.ENV_PUBLIC_URL])

    def plan(self) -> None:
        """Every site has said hello, so the round is planned: as a pod finds it that replaces another."""
        for entry in self.job.config.roster:
            Scripted(self.job, entry.name).next(0.0)
        until(lambda: self.step == "Train")

    @property
    def step(self) -> str | None:
        """Of the plan that sites work on, as the status says it."""
        return self.job.status().get("round", {}).get("step")

    def pause(self, paused: bool = True) -> None:
        """Whether the job's sites are left out of what is planned from now on."""
        entries = self.job.config.roster
        roster = tuple(
            e.model_copy(update={"eligible": not paused, "reason": "Paused" if paused else ""}) for e in entries
        )
        self.job.write_config(self.job.config.model_copy(update={"roster": roster}))

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self._application.stop()

    def start(self) -> None:
        self._application = Application(self.job).start()

    def close(self) -> None:
        self.stop()
        self.line.close()

    @property
    def updates(self) -> list[UpdateManifest]:
        """What counts, in the order in which it was taken; what was handed in again is not in it."""
        taken = [e for e in tuple(self.line.exchanges) if e.route == "updates" and e.status == 200]
        first = [e for e in taken if not json.loads(e.answer)["duplicate"]]
        return [HandedUpdate.model_validate_json(e.said).body for e in first]

    def tensors(self, manifest: UpdateManifest) -> Tensors:
        """Of an update that came by the line."""
        taken = [e for e in tuple(self.line.exchanges) if e.route in ("put", "updates") and e.status // 100 == 2]
        said = [body for e in taken for body in ([e.said] if e.route == "put" else _content(e.said))]
        return next(load(body) for body in said if hashlib.sha256(body).hexdigest() == manifest.objects[0].sha256)

    @property
    def evaluations(self) -> list[Any]:
        return self.line.took("evaluations")

    @property
    def failures(self) -> list[Any]:
        return self.line.took("failures")


def _content(said: bytes) -> list[bytes]:
    """What came with a manifest."""
    return list(HandedUpdate.model_validate_json(said).content.values())


__all__ = ["UID", "Application", "Hub"]
