"""Turns pod objects into processes and their ends into pod status. Called by runner.py after every pass.

One task per pod. Pods of Jobs run once; the Deployment's pod restarts its container with a growing wait. What
only a cluster has (images, resources, security contexts, liveness probes) is not acted on.
"""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal import mounts, pods, readiness
from fedlocal.cluster import Cluster, key_of
from fedlocal.interruption import unless_set
from fedlocal.localnode import Node
from fedlocal.processes import Command, Launcher, Process
from fedlocal.workloads import backoff_s
from fedoperator.decide.decision import Key

TRAINER = "fedtrainer"
OTHER_LOGS = (
    names.ROLE_AGGREGATOR,
    names.ROLE_INIT,
    names.ROLE_BACKUP,
    names.ROLE_VERIFY,
    names.ROLE_RESTORE,
    "fork-server",
    "trainers",
)  # files that a site called so would share
GRACE_S = 10.0
LOG_TAIL_BYTES = 2048
STEADY_S = 30.0  # a container that ran this long starts again at once
PROBE_FAST_S, PROBE_SLOW_S = 0.05, 2.0
PROBE_FAILURES = 3  # in a row, and what was ready is not: Kubernetes' own default of failureThreshold


@dataclass
class Kubelet:
    """All pods of one cluster."""

    cluster: Cluster
    node: Node
    launcher: Launcher
    _tasks: dict[Key, "asyncio.Task[None]"] = field(default_factory=dict)
    _ends: dict[Key, asyncio.Event] = field(default_factory=dict)

    def sync(self) -> None:
        """Starts what is new, ends what is marked, removes what is marked and ended."""
        for pod in self.cluster.of_kind("Pod"):
            key = key_of(pod)
            task = self._tasks.get(key)
            if pods.deleting(pod):
                if task is None or task.done():
                    self._removed(key)
                else:
                    self._ends[key].set()
            elif task is None and not pods.finished(pod):
                self._ends[key] = asyncio.Event()
                self._tasks[key] = asyncio.create_task(_Container(self, pod, self._ends[key]).live())
                self._tasks[key].add_done_callback(lambda _: self.cluster.changed())

    async def stop(self) -> None:
        """Ends all pods and waits for them."""
        for end in self._ends.values():
            end.set()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def failure(self) -> BaseException | None:
        """What went wrong in the kubelet itself, if anything did."""
        done = (task for task in self._tasks.values() if task.done() and not task.cancelled())
        return next((error for task in done if (error := task.exception())), None)

    def _removed(self, key: Key) -> None:
        self._tasks.pop(key, None)
        self._ends.pop(key, None)
        self.cluster.remove(key)
        shutil.rmtree(self.node.places.state.pod(key.name), ignore_errors=True)


class _Container:
    """The containers of one pod, one at a time."""

    def __init__(self, kubelet: Kubelet, pod: Json, end: asyncio.Event) -> None:
        self.cluster, self.node, self.launcher = kubelet.cluster, kubelet.node, kubelet.launcher
        self.key, self.pod, self.end = key_of(pod), pod, end
        self.always = pod["spec"].get("restartPolicy", "Always") == "Always"
        self.restarts, self.quick_ends = 0, 0
        self.last: Json = {}

    async def live(self) -> None:
        """Runs the container until the pod is finished or ended."""
        while not self.end.is_set():
            if not await self._data_there():
                continue
            started = self.cluster.now()
            code, message = await self._each(started)
            state = pods.ended(code, message, started, self.cluster.now())
            if not self.always or self.end.is_set():
                self._put("Succeeded" if code == 0 else "Failed", state)
                return
            await self._wait_before_restart(state, started)

    async def _data_there(self) -> bool:
        """False, after a while, when a folder of the site's data is missing: as a kubelet that cannot mount."""
        missing = mounts.missing_data(self.pod, self.node.places)
        if missing:
            text = "; ".join(f"{path} needs the folder {target}" for path, target in missing)
            self._put("Pending", {"waiting": {"reason": "FailedMount", "message": text}})
            await self._pause(1.0)
        return not missing

    async def _each(self, started: datetime) -> tuple[int, str]:
        """One container after the other, until one does not end well; those of the last stage side by side."""
        code, message = 0, ""
        for stage in pods.stages(self.pod):
            ends = await asyncio.gather(*(self._once(alone, started, at) for at, alone in enumerate(stage)))
            code, message = next((end for end in ends if end[0]), ends[0])
            if code or self.end.is_set():
                break
        return code, message

    async def _once(self, pod: Json, started: datetime, beside: int) -> tuple[int, str]:
        """One run: exit code as a kubelet gives it, and the termination message. `beside`: its number among those that run."""
        root = mounts.prepare(pod, self.node.places, beside)
        command = self._command(pod, root)
        log_start = command.log.stat().st_size if command.log.exists() else 0
        process = await unless_set(self.end, self.launcher.start(command))  # it may wait for others to be ready
        if process is None:
            return 128 + signal.SIGTERM, "ended before it was started"
        self._running(started, is_ready=not self._probe())
        watching = asyncio.create_task(self._watch_readiness(started))
        code = await self._ended(process)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        message = mounts.termination_message(root) or (_tail(command.log, log_start) if code else "")
        return code if code >= 0 else 128 - code, message

    def _command(self, pod: Json, root: Path) -> Command:
        container, labels = pod["spec"]["containers"][0], pod["metadata"]["labels"]
        role = labels[names.LABEL_ROLE]
        log = self.node.places.state.logs / f"{self._log_name(role, labels.get(names.LABEL_CLIENT))}.log"
        env, hubs = self.node.environment(pod, root), "command" in container  # a task's image has its own
        module = container["command"][-1] if hubs else TRAINER
        return Command(module, tuple(container.get("args") or ()), env, root, log, isolated=hubs)

    def _log_name(self, role: str, client: str | None) -> str:
        owner = self.cluster.objects.get(Key("Job", self.pod["metadata"]["labels"].get(pods.JOB_NAME, "")))
        if owner is None or owner["spec"].get("completions", 1) == 1:
            return log_name(role, client, None, ())
        sites = {body["metadata"]["name"] for body in self.cluster.of_kind(names.CLIENT_KIND)}
        return log_name(role, client, pods.index(self.pod), sites)

    async def _ended(self, process: Process) -> int:
        waiting, ending = asyncio.ensure_future(process.wait()), asyncio.ensure_future(self.end.wait())
        await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            process.terminate()
            grace = min(GRACE_S, float(self.pod["spec"].get("terminationGracePeriodSeconds", GRACE_S)))
            await asyncio.wait({waiting}, timeout=grace)
        ending.cancel()
        process.kill()  # and whatever it left in its group
        return await waiting

    def _probe(self) -> Json:
        probe: Json = (self.pod["spec"]["containers"][0].get("readinessProbe") or {}).get("httpGet") or {}
        return probe

    async def _watch_readiness(self, started: datetime) -> None:
        if not (probe := self._probe()):
            return
        known, failures = False, 0
        while True:
            failures = 0 if await readiness.answers_ok(self.node.probe_port, probe["path"]) else failures + 1
            is_ready = not failures or (known and failures < PROBE_FAILURES)
            if is_ready != known:
                self._running(started, is_ready=is_ready)
                known = is_ready
            await asyncio.sleep(PROBE_SLOW_S if known else PROBE_FAST_S)

    async def _wait_before_restart(self, state: Json, started: datetime) -> None:
        ran_s = (self.cluster.now() - started).total_seconds()
        self.quick_ends = 0 if ran_s > STEADY_S else self.quick_ends + 1
        self.restarts, self.last = self.restarts + 1, state
        self._put("Running", {"waiting": {"reason": "CrashLoopBackOff", "message": state["terminated"]["message"]}})
        await self._pause(backoff_s(self.quick_ends))

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.end.wait(), seconds)

    def _running(self, started: datetime, *, is_ready: bool) -> None:
        since = started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._put("Running", {"running": {"startedAt": since}}, is_ready=is_ready)

    def _put(self, phase: str, state: Json, *, is_ready: bool = False) -> None:
        live = self.cluster.objects.get(self.key)
        if live is not None:
            now = self.cluster.now()
            new = pods.status(live, phase, state, now, is_ready=is_ready, restarts=self.restarts, last=self.last)
            self.cluster.put_status(self.key, new)


def log_name(role: str, client: str | None, index: int | None, sites: Collection[str]) -> str:
    """A file for each process: of the hub by role, of a site by name, of a worker by number. `_` is in no site's name."""
    if client is None:
        return role
    if index is None:
        return f"{client}_site" if client in OTHER_LOGS else client
    numbered = f"{client}-{index}"
    return f"{client}_{index}" if numbered in sites else numbered


def _tail(log: Path, start: int) -> str:
    """The last lines that this run printed: what terminationMessagePolicy FallbackToLogsOnError shows."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()
    except OSError:
        return ""
