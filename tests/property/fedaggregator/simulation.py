"""The real round logic, interpreter, records and folds over the in-memory store, driven without HTTP and with crashes."""

import hashlib
from dataclasses import replace

import numpy as np
from safetensors.numpy import save

from fedaggregator.engine import records
from fedaggregator.engine.interpreter import Interpreter
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import JobConfig
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.update import Payload, UpdateEnvelope, UpdateManifest
from fedcore.rounds import admission, modes
from fedcore.rounds.effects import Encode, FindRound, Fold
from fedcore.rounds.events import (
    Accepted,
    Evaluated,
    Event,
    Heard,
    InitialModelFound,
    SiteFailed,
    Ticked,
    UpdatesDamaged,
)
from fedcore.rounds.state import Phase, State
from fedstore import history
from fedstore.memory import MemoryStore

UID = "uid-1"


class Crash(BaseException):
    """kill -9."""


class CrashingStore(MemoryStore):
    """Dies at the n-th write from now: before it, or right after it."""

    def __init__(self) -> None:
        super().__init__()
        self.countdown: int | None = None
        self.before = True
        self.writes = 0

    def arm(self, countdown: int | None, *, before: bool) -> None:
        self.countdown, self.before = countdown, before

    def add(self, key, data, sha256):
        self._counted(lambda: super(CrashingStore, self).add(key, data, sha256))

    def replace_head(self, key, data, expected):
        return self._counted(lambda: super(CrashingStore, self).replace_head(key, data, expected))

    def delete(self, key):
        self._counted(lambda: super(CrashingStore, self).delete(key))

    def _counted(self, write):
        self.writes += 1
        due = self.countdown == 0
        if self.countdown is not None:
            self.countdown -= 1
        if due and self.before:
            raise Crash
        result = write()
        if due:
            raise Crash
        return result


def job(clients=("a", "b", "c"), **values) -> JobConfig:
    defaults = {"uid": UID, "rounds": 3, "seed": 5, "deadline_s": 100.0, "min_available": len(clients)}
    roster = tuple(RosterEntry(name=c) for c in clients)
    return JobConfig(namespace="ns", name="job", roster=roster, **defaults | values)


def update_of(client: str, round_: int) -> tuple[bytes, int]:
    """A site's update and its samples."""
    digest = hashlib.sha256(f"{client}/{round_}".encode()).digest()
    values = np.frombuffer(digest, np.uint8).astype(np.float32) / 7
    return save({"w": values[:20].reshape(4, 5).copy(), "b": values[20:25].copy()}), 1 + digest[0]


class Hub:
    """One aggregator process after another on one store."""

    def __init__(self, config: JobConfig, store: CrashingStore | None = None) -> None:
        self.config, self.store, self.now = config, store or CrashingStore(), 1000.0
        self.state: State
        self.interpreter: Interpreter
        self.restarts = 0
        self.named: list[str] = []  # keys of damaged objects that were found

    def start(self) -> None:
        layout = State(self.config, 0).layout
        head, tag = records.take_head(self.store, layout)
        self.mode = modes.mode(self.config.strategy.name)
        log = records.load_log(self.store, layout, head, looks_back=self.mode.looks_back)
        self.named += [damage.key for damage in log.damages]
        self.interpreter = Interpreter(self.store, Payloads(self.store, bytes(32)), layout, head, tag)
        self.state, effects = self.mode.recovered(self.config, log, self.now)
        self._perform(effects)
        if self.state.tip is None:
            zeros = save({"w": np.zeros((4, 5), np.float32), "b": np.zeros(5, np.float32)})
            model = self.store.put_once(layout.model(0, hashlib.sha256(zeros).hexdigest()), zeros)
            self.handle(InitialModelFound(self.now, model))
        self.handle(Ticked(self.now))

    def handle(self, event: Event) -> None:
        after, effects = self.mode.step(self.state, event)
        pending = [e for e in effects if isinstance(e, Fold | Encode | FindRound)]
        for effect in effects:
            if not isinstance(effect, Fold | Encode | FindRound):
                self.interpreter.perform(effect)
        self.state = after
        self._perform(tuple(pending))

    def _perform(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, Fold | Encode | FindRound):
                answer = self.interpreter.answer(effect, lambda: False, lambda: self.now)
                if isinstance(answer, UpdatesDamaged):
                    self.named += list(answer.found)
                self.handle(answer)
            else:
                self.interpreter.perform(effect)

    def hear(self, *clients: str) -> None:
        self.handle(Heard(self.now, clients))

    def deliver(self, client: str) -> str:
        """What the HTTP routes do with a site that has trained; the refusal's code, or what became of it."""
        attempt = self.state.current
        if attempt is None or client not in attempt.plan.selected:
            return "NotAsked"
        plan = attempt.plan
        assert hashlib.sha256(self.store.get(plan.fetched.key)).hexdigest() == plan.fetched.sha256, "it can be fetched"
        data, samples = update_of(client, plan.round)
        sha256 = hashlib.sha256(data).hexdigest()
        payload = self.store.put_once(self.state.layout.update(client, plan.round, sha256), data)
        manifest = UpdateManifest(
            job_uid=self.config.uid, round=plan.round, attempt=plan.attempt, client=client, base_sha256=plan.base.sha256,
            payloads={"update": Payload(object=payload)}, samples=samples, steps=2, training_s=1.0, nonce=f"{client}{plan.round}".ljust(16, "x"),
        )  # fmt: skip
        return self.offer(manifest)

    def offer(self, manifest: UpdateManifest) -> str:
        answer = admission.update(self.state, manifest.client, manifest)
        if answer is None:
            self.interpreter.write_manifest(UpdateEnvelope(body=manifest))
            self.handle(Accepted(self.now, manifest))
            return "Accepted"
        return "Duplicate receipt" if isinstance(answer, UpdateManifest) else answer.code

    def evaluate(self, client: str) -> None:
        tip = self.state.tip
        if tip is None:
            return
        report = EvaluationReport(
            job_uid=self.config.uid, round=tip.round, client=client, model_sha256=tip.model.sha256, samples=3,
            metrics={"accuracy": tip.round / 10},
        )  # fmt: skip
        if admission.evaluated(self.state, client, report) is None:
            self.interpreter.write_report(report)
            self.handle(Evaluated(self.now, report))

    def fail(self, client: str) -> None:
        attempt = self.state.current
        if attempt:
            self.handle(SiteFailed(self.now, client, attempt.plan.round, attempt.plan.attempt, "TaskFailed", "no"))

    def act(self, what, *args) -> None:
        """Does something; a process that dies in it is started again, as often as it takes."""
        try:
            what(*args)
        except Crash:
            self.recover()

    def recover(self) -> None:
        while True:
            self.restarts += 1
            try:
                self.start()
            except Crash:
                continue
            else:
                return

    def finished(self) -> bool:
        return self.state.phase is Phase.FINISHED

    def commits(self) -> list[CommitRecord]:
        """All commit records in the store that HEAD reaches."""
        layout = self.state.layout
        head, _ = records.take_head(self.store, layout)
        return list(history.links(self.store, layout, head))[::-1]

    def with_config(self, **values) -> None:
        self.config = self.config.model_copy(update=values)
        self.state = replace(self.state, config=self.config)
