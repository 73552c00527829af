"""A job of a few sites in this process: their Sessions and the hub's own fold, round after round, with state that is committed."""

import sys
from pathlib import Path
from types import ModuleType

import torch

from fedaggregator.engine import content
from fedaggregator.engine.folding import fold
from fedaggregator.engine.payloads import Payloads
from fedapi.wire.compression import Compression, codec
from fedapi.wire.job import JobConfig
from fedapi.wire.layout import Layout
from fedapi.wire.message import ObjectRef
from fedapi.wire.roster import RosterEntry
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UPDATE, Payload
from fedcore.rounds import training
from fedcore.rounds.effects import Fold, Term
from fedstore.memory import MemoryStore
from fedtrainer import Task
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.state_files import Committed, OrderState, StateFiles
from fedtrainer.training.tensors import read
from fedtrainer.training.writing import Trained, payload_file

LAYOUT = Layout("ns", "job", "uid")


class Federation:
    """Sites by name, each with its task. A round is trained by all of them or by those that are named."""

    def __init__(
        self,
        folder: Path,
        tasks: dict[str, Task],
        strategy: str | StrategySettings,
        settings: TrainingSettings,
        fragments: int | None = None,
        compression: Compression | None = None,
        **numbers,
    ) -> None:
        self.folder, self.tasks, self.store = folder, tasks, MemoryStore()
        if isinstance(strategy, str):
            strategy = StrategySettings(name=strategy, parameters=numbers, fragments=fragments)
        self.strategy, self.settings, self.compression = strategy, settings, compression
        self.round = 0
        self.folders: dict[str, Path] = {}
        self.committed: dict[str, Committed | None] = dict.fromkeys(tasks)
        self.sessions = {name: self._session(name, task) for name, task in tasks.items()}
        first = next(iter(tasks))
        write_initial_model(f"task_of_{first}:task", {}, 7, 1, folder / "init", None, settings)
        self.model = self.initial = self._kept("models", folder / "init" / "model.safetensors")
        table = content.read_table(self.store, self.initial.key)
        self.partial = bool(table.frozen or table.local)
        self.hub_state: ObjectRef | None = None

    def train(self, name: str, attempt: int = 1) -> Trained:
        """One site's part in the round after the last."""
        round_, session = self.round + 1, self.sessions[name]
        self.folders[name] = self.folder / name / f"{round_}-{attempt}"
        order = OrderState(self._state(name), self.committed[name], (round_, attempt))
        order.files.promote(order.committed)
        order.files.discard(order.update)
        whole = self._fetched(self.initial) if self.partial else None
        hub_state = self.hub_state and self._fetched(self.hub_state)
        session.load(self._fetched(self.model), order, hub_state, whole, self.settings)
        config = JobConfig(
            namespace="ns", name="job", uid="uid", rounds=9, strategy=self.strategy, training=self.settings,
            roster=tuple(RosterEntry(name=each) for each in self.tasks),
        )  # fmt: skip
        return session.train(
            session.data(round_), round_, training.settings(config), self.at(name), lambda: False,
            compression=self.compression,
        )  # fmt: skip

    def go_on(self, *names: str) -> dict[str, torch.Tensor]:
        """The model after a round of these sites."""
        names = names or tuple(self.tasks)
        trained = {name: self.train(name) for name in names}
        return self.commit({name: self.term(name, trained[name]) for name in names})

    def commit(self, terms: dict[str, Term]) -> dict[str, torch.Tensor]:
        """The model after a round of what these sites have sent."""
        self.round += 1
        order = Fold(
            self.round, 1, self.model, self.strategy, tuple(terms.values()), self.hub_state, self.settings, self.round
        )
        made = fold(self.store, Payloads(self.store, bytes(32)), LAYOUT, order, lambda: False)
        self.model, self.hub_state = made.model, made.hub_state
        for name, term in terms.items():
            asked = (term.origin.round if term.origin else self.round, 1)
            self.committed[name] = Committed(asked, term.payloads[UPDATE].object.sha256)
        return self.now()

    def now(self) -> dict[str, torch.Tensor]:
        """The model that the next round begins with."""
        return {**read(self._fetched(self.initial)), **read(self._fetched(self.model))}

    def at(self, name: str) -> Path:
        """Where a site has worked last."""
        return self.folders[name]

    def payload(self, name: str, payload: str = UPDATE) -> dict[str, torch.Tensor]:
        """What a site has written in its last training."""
        return {n: t.clone() for n, t in read(self.at(name) / payload_file(payload)).items()}

    def state(self, name: str) -> dict[str, torch.Tensor]:
        """What a site keeps by now."""
        files = self._state(name)
        files.promote(self.committed[name])
        current = files.current(self.committed[name])
        return {} if current is None else read(current.path)

    def _state(self, name: str) -> StateFiles:
        return StateFiles(self.folder / name / "state")

    def _session(self, name: str, task: Task) -> Session:
        module = ModuleType(f"task_of_{name}")
        module.task = lambda: task
        sys.modules[module.__name__] = module
        return Session(Spec(f"task_of_{name}:task", {}, 7, 1, name, self.folder), SingleRing("cpu"))

    def term(self, name: str, trained: Trained) -> Term:
        """A training as the hub has it."""
        files = {
            each: self._kept(f"updates/{name}", self.at(name) / payload_file(each))
            for each in (UPDATE, *trained.beside)
        }
        codecs = {UPDATE: codec(self.compression)}
        payloads = {each: Payload(object=ref, codec=codecs.get(each, "None")) for each, ref in files.items()}
        return Term(name, payloads, trained.samples, trained.steps)

    def _kept(self, prefix: str, path: Path) -> ObjectRef:
        return self.store.put_once(f"{prefix}/{self.round}-{path.name}", path.read_bytes())

    def _fetched(self, ref: ObjectRef) -> Path:
        path = self.folder / f"fetched-{ref.sha256}.safetensors"
        path.write_bytes(self.store.get(ref.key))
        return path


def settings(**changes) -> TrainingSettings:
    """Plain SGD over whole batches, unless said otherwise."""
    said = {"epochs": None, "local_steps": 4, "batch_size": 1000, "optimizer": {"learning_rate": 0.1}, **changes}
    return TrainingSettings(**said)
