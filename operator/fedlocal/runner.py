"""Runs one FederatedJob to its end on this machine, or until it is told to stop. Called by fedcli.

The loop is level-triggered as the operator's: whatever changes sets one event, then a whole pass runs. State
goes to disk after each pass, so that a killed run is continued by the next.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal import intake, key_store, memory, open_files, preflight, reconcile, statefolder, user_secrets
from fedlocal.cluster import Cluster
from fedlocal.devices import Machine, on_one_machine
from fedlocal.errors import MachineError
from fedlocal.intake import Request
from fedlocal.interruption import unless_set
from fedlocal.kubelet import Kubelet
from fedlocal.localnode import Node
from fedlocal.manifests import namespace
from fedlocal.mounts import Places
from fedlocal.pods import finished
from fedlocal.processes import DP_SGD, ForkingLauncher, launcher
from fedlocal.reconcile import Reconciler
from fedlocal.sharing import SharingLauncher
from fedlocal.trainer_pool import TrainerPool
from fedoperator.decide.decision import Event, Key
from fedoperator.decide.view import dig

Phase = Literal["Complete", "Failed", "Suspended", "Interrupted", "Stalled"]
Watch = Callable[[Json, list[Event]], None]
STATUS_POLL_S = 0.05
LEAST_PAUSE_S = 0.002  # between two passes: lets the processes' tasks run
CHEAP_PASS_S = 0.02  # a pass that took longer is followed by a pause, so many times as long
PAUSES, PAUSES_IN_TRAINING, MOST_PAUSE_S = 2.0, 20.0, 15.0
MOST_WAIT_S = 60.0
FINISH_GRACE_S = 5.0  # for processes that still run when the job has ended


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    phase: Phase
    job: Json
    seconds: float | None = None  # of this run; None: the job had ended before and nothing was started
    message: str = ""


async def run(request: Request, watch: Watch) -> Ending:
    """Runs the job. BadInputError, StateBusyError and StateBrokenError say what has to change first."""
    try:
        return await _run(request, watch)
    except OSError as error:
        where = error.filename or request.state.root
        raise MachineError(
            f"{where}: {error.strerror or error}: mend it and run again, what was committed is kept"
        ) from error


async def _run(request: Request, watch: Watch) -> Ending:
    root = request.state.root
    with statefolder.locked(root), _state(root, fresh=request.fresh) as forget:
        job = intake.stored(request)
        before = intake.ended(job)
        if before:
            return Ending(before, job, message=_message(job, before))
        going = _Run(request, job, watch, forget)
        with _signals(going.stop):
            return await going.go()


def _state(root: Path, *, fresh: bool) -> AbstractContextManager[Callable[[], None]]:
    """What to call once nothing is in the way of a run that begins anew: then what was there is forgotten."""
    return statefolder.begun_anew(root) if fresh else contextlib.nullcontext(lambda: None)


def _message(job: Json, phase: str) -> str:
    found = next((c for c in job["status"].get("conditions") or () if c["type"] == phase), None)
    return f"{found['reason']}: {found['message']}" if found else ""


class _Run:
    """One run: the cluster and what works on it."""

    def __init__(self, request: Request, job: Json, watch: Watch, forget: Callable[[], None]) -> None:
        self.request, self.watch, self.state, self.forget = request, watch, request.state, forget
        self.changed, self.pressing, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.cluster = Cluster(job["metadata"]["namespace"], self.changed.set, lambda: datetime.now(UTC))
        self.key = Key(names.JOB_KIND, request.name)
        keys = key_store.keys(self.state, datetime.now(UTC))  # first: they mark the folder as a run's state
        self._fill(job)
        aggregator, backup = self.state.read_aggregator_status() or {}, self.state.read_backup_status() or {}
        operator = {name: value for name, value in job["status"].items() if name not in aggregator | backup}
        self.reconciler = Reconciler(self.cluster, self.key, self.state, keys, operator, aggregator, backup)
        self.launcher = launcher()
        self.started = time.monotonic()
        self.ended_at: float | None = None
        self.stall = preflight.Stall()
        self.saved: Json | None = None
        self.trouble = ""

    def _fill(self, job: Json) -> None:
        """The user's objects."""
        self.cluster.adopt(job)
        for document in self.request.manifests.clients:
            if namespace(document) == self.cluster.namespace:
                uid = str(uuid.uuid5(uuid.UUID(job["metadata"]["uid"]), document.body["metadata"]["name"]))
                identity = {"namespace": self.cluster.namespace, "uid": uid, "generation": 1}
                spec, metadata = on_one_machine(document.body["spec"]), {**document.body["metadata"], **identity}
                self.cluster.adopt({**document.body, "metadata": metadata, "spec": spec, "status": {}})
        for body in self.request.manifests.config_maps.values():
            reconcile.put_config_map(self.state, body)
        for body in self.request.manifests.secrets.values():
            user_secrets.put(self.state, body)

    async def go(self) -> Ending:
        """Until the job has ended or the run is stopped."""
        manifests = self.request.manifests
        places = Places(self.state, manifests.folder, frozenset(manifests.config_maps))
        self.reconciler.run()
        observed = self.reconciler.observed()
        forked = isinstance(self.launcher, ForkingLauncher)
        plan = preflight.plan(self.request, observed, memory.free_mib(), forked=forked)
        preflight.check(self.request, observed, places, plan)
        self.forget()
        shutil.rmtree(self.state.root / "pods", ignore_errors=True)
        looking = Machine.look(gpus=preflight.asks_for_gpus(observed))
        if (machine := await unless_set(self.stopped, looking)) is None:
            return self._interrupted()
        node = Node.of(places, machine)
        self.reconciler.events += [*preflight.stand_ins(self.request, observed, node), *preflight.nowhere(observed)]
        using = self._shared(node, plan.trainers) if plan.trainers else self.launcher
        kubelet = Kubelet(self.cluster, node, using)
        following = asyncio.create_task(self._follow_aggregator())
        try:
            spec = self._job()["spec"]
            if isinstance(self.launcher, ForkingLauncher) and not spec.get("suspend"):
                modules = DP_SGD if dig(spec, "privacy", "dpSGD") else ()
                self.launcher.warm(node.inherited(), self.state.logs / "fork-server.log", modules)
            return await self._loop(kubelet)
        finally:
            following.cancel()
            await kubelet.stop()
            self._take_backup_status()
            self._take_aggregator_status()
            self._save()
            await using.close()
            shutil.rmtree(self.state.root / "pods", ignore_errors=True)

    def _shared(self, node: Node, trainers: int) -> SharingLauncher:
        """Sites that can share trainers do. Each that waits has a connection open."""
        open_files.allow()
        folder, log = self.state.root / "pods" / "trainers", self.state.logs / "trainers.log"
        return SharingLauncher(self.launcher, TrainerPool(self.launcher, folder, log, node.inherited(), trainers))

    async def _loop(self, kubelet: Kubelet) -> Ending:
        while not self.stopped.is_set():
            self.changed.clear()
            self.pressing.clear()
            began_s = time.monotonic()
            due = [self.reconciler.run()]
            kubelet.sync()
            self._save()
            self._show()
            now_s = time.monotonic()
            ending = self._ending(kubelet, now_s)
            if ending:
                return ending
            due += [self.stall.due_s(now_s), MOST_WAIT_S, 0.5 if self.ended_at else None]
            await self._pause(time.monotonic() - began_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.changed.wait(), min(seconds for seconds in due if seconds is not None))
        return self._interrupted()

    async def _pause(self, pass_s: float) -> None:
        """Passes over many sites take but a share of the time, unless one is waited for: whatever else is done here goes on."""
        await asyncio.sleep(LEAST_PAUSE_S)
        if pass_s > CHEAP_PASS_S:
            training = self._job()["status"].get("phase") == "Running"
            with contextlib.suppress(TimeoutError):
                seconds = pass_s * (PAUSES_IN_TRAINING if training else PAUSES)
                await asyncio.wait_for(self.pressing.wait(), min(seconds, MOST_PAUSE_S))

    def _interrupted(self) -> Ending:
        return Ending("Interrupted", self._job(), time.monotonic() - self.started)

    def _ending(self, kubelet: Kubelet, now_s: float) -> Ending | None:
        """Whether the run is over, and how."""
        if (failure := kubelet.failure()) is not None:
            raise failure
        job, seconds = self._job(), now_s - self.started
        ended = intake.ended(job)
        if ended:
            self.ended_at = self.ended_at or now_s
            running = [pod for pod in self.cluster.of_kind("Pod") if not finished(pod)]
            backing_up = any(reconcile.backs_up(job) for job in self.cluster.of_kind("Job"))
            settled = not self.changed.is_set()  # else the next pass may begin the last backup
            over = settled and not backing_up and (not running or now_s - self.ended_at > FINISH_GRACE_S)
            return Ending(ended, job, self.ended_at - self.started, _message(job, ended)) if over else None
        stuck = self.stall.reason(self.cluster, self.key, now_s)
        return Ending("Stalled", job, seconds, stuck) if stuck else None

    def stop(self) -> None:
        """In order the first time, at once the second time."""
        if self.stopped.is_set():
            sys.stderr.write("stopped at once; run again to go on from the last commit\n")
            os._exit(130)  # the children end with the pipe
        self.stopped.set()
        self.pressing.set()
        self.changed.set()

    def _job(self) -> Json:
        return self.cluster.objects[self.key]

    def _show(self) -> None:
        events, self.reconciler.events = self.reconciler.events, []
        self.watch(self._job(), events)

    def _save(self) -> None:
        record = dict(self._job())
        record["metadata"] = {k: v for k, v in record["metadata"].items() if k != "resourceVersion"}
        if record != self.saved:
            try:
                statefolder.write_json(self.state.record, record)
            except OSError as error:
                self._troubled(f"{self.state.record} cannot be written, it is tried again: {error.strerror}")
                return
            self.saved, self.trouble = record, ""

    def _troubled(self, trouble: str) -> None:
        """Tells the user, once, what holds the run up."""
        if trouble != self.trouble:
            self.reconciler.events.append(Event("Warning", "StateUnwritable", trouble))
        self.trouble = trouble

    async def _follow_aggregator(self) -> None:
        """Takes over what the aggregator writes, within the poll's time."""
        last: tuple[tuple[int, int, int] | None, ...] = ()
        full = False
        while True:
            if full != (full := statefolder.is_full(self.state.root)):
                self._troubled(f"the volume of {self.state.root} is full: free space there" if full else "")
                self.changed.set()
            if (mark := tuple(map(_mark, (self.state.aggregator_status, self.state.backup_status)))) != last:
                last = mark
                self._take_backup_status()
                self._take_aggregator_status()
            await asyncio.sleep(STATUS_POLL_S)

    def _take_backup_status(self) -> None:
        status = self.state.read_backup_status()
        if status is not None and status != self.reconciler.backup_status:
            self.reconciler.backup_status = status
            self.reconciler.publish()
            self.pressing.set()

    def _take_aggregator_status(self) -> None:
        status = self.state.read_aggregator_status()
        if status is None:
            return
        if self._acted_on(status) != self._acted_on(self.reconciler.aggregator_status):
            self.pressing.set()
        self.reconciler.aggregator_status = status
        self.reconciler.publish()
        for client in status.get("clients") or ():
            if client["state"] != "Waiting":
                reconcile.heard(self.cluster, client["name"], self.cluster.now())

    def _acted_on(self, aggregator: Json) -> tuple[object, ...]:
        """The leaves of the aggregator's status on which Jobs are started or stopped at once."""
        round_, by_round = aggregator.get("round") or {}, dig(self._job(), "spec", "training", "lifetime") == "Round"
        return (aggregator.get("outcome"), *(round_.get(name) for name in ("current", "attempt", "step") if by_round))


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Tells one content of a file from the next."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM stops in order; a second one ends everything at once."""
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
