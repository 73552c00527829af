"""Runs Sessions as the ranks of one site: real processes, a real rendezvous, a real adapter on 127.0.0.1."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UPDATE
from fedtrainer import termination
from fedtrainer.errors import RingBrokenError, SkipError, StopError, Terminated
from fedtrainer.ring import operations
from fedtrainer.ring.join import join
from fedtrainer.ring.rendezvous import Rendezvous
from fedtrainer.ring.slot import Slot
from fedtrainer.training.initial import write_initial_model
from fedtrainer.training.session import Session, Spec
from fedtrainer.training.tensors import on_host, read
from fedtrainer.training.writing import payload_file
from tests.ports import free_port
from tests.preloaded import forked
from tests.waiting import PATIENCE_S

ENTRYPOINT = "tests.unit.fedtrainer.training.ring_tasks:task"


@dataclass
class Outcome:
    """What one order came to at one rank."""

    error: str = ""  # its type
    message: str = ""
    samples: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    evaluation: dict[str, float] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)  # numpy arrays, after the order
    sent: dict[str, Any] = field(default_factory=dict)  # by payload, as rank 0 has written it
    broadcast: int = 0  # bytes between the ranks when the order's model was loaded


@dataclass(frozen=True)
class Script:
    """What the ranks do: one training per entry of `orders`, in rounds 1, 2, …"""

    folder: Path
    kind: str
    orders: tuple[TrainingSettings, ...]
    args: dict[str, Any] = field(default_factory=dict)
    drop_after: int = 1_000_000  # questions of rank 0 whether its work is still wanted
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: str = ENTRYPOINT
    hub_state: Path | None = None
    partial: bool = False  # some of the model's tensors do not travel
    widths: tuple[float, ...] = ()  # of its sub-models

    def task_args(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.args} if self.kind else self.args

    def model(self) -> Path:
        write_initial_model(self.entrypoint, self.task_args(), 7, 1, self.folder, widths=self.widths)
        return self.folder / "model.safetensors"


def alone(script: Script) -> list[Outcome]:
    """The same in this process."""
    script.model()
    return _work(script, join(Slot(), None), 0)


def site(script: Script, slot: Slot) -> list[list[Outcome]]:
    """Outcomes by rank. An empty list is a rank that ended without a word."""
    script.model()
    slot = replace(slot, store_port=free_port(), addresses=("127.0.0.1",) * slot.size, timeout_s=60.0)
    pipes, processes = [], []
    for rank in range(slot.size):
        ours, theirs = forked.Pipe()
        process = forked.Process(target=_rank, args=(script, replace(slot, rank=rank, worker=rank), theirs))
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    found = [pipe.recv() if pipe.poll(PATIENCE_S) else [] for pipe in pipes]
    for process in processes:
        process.join(PATIENCE_S)
        process.kill()
        process.join()
    return found


def _rank(script: Script, slot: Slot, pipe: Any) -> None:
    os.environ |= {"RING_TEST_RANK": str(slot.rank), **script.env}
    termination.install()
    rendezvous = Rendezvous.open(slot, b"k" * 32, 60.0)
    ring = join(slot, rendezvous)
    outcomes = _work(script, ring, slot.rank)
    pipe.send(outcomes)
    if not any(outcome.error in ("RingBrokenError", "Terminated") for outcome in outcomes):
        operations.barrier(ring)
        ring.close()
        rendezvous.close()


def _work(script: Script, ring: Any, rank: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    ring = Counted(ring)
    try:
        spec = Spec(script.entrypoint, script.task_args(), 7, 1, "site-a", script.folder / "data", rank)
        session = Session(spec, ring)
        for round_, settings in enumerate(script.orders, 1):
            ring.bytes = 0
            if rank == 0:
                model = script.model()
                initial = model if script.partial else None
                session.load(model, hub_state=script.hub_state, initial=initial, training=settings)
            else:
                session.load(None, training=settings)
            loaded = ring.bytes
            folder = script.folder / f"round-{round_}" if rank == 0 else None
            outcomes.append(_order(session, round_, settings, folder, _questions(script.drop_after, rank)))
            outcomes[-1].broadcast = loaded
    except (StopError, RingBrokenError, Terminated) as error:
        outcomes.append(Outcome(type(error).__name__, str(error)))
    return outcomes


class Counted:
    """A ring that notes the bytes of its broadcasts."""

    def __init__(self, ring: Any) -> None:
        self._ring, self.bytes = ring, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ring, name)

    def broadcast(self, tensor: Any) -> None:
        self.bytes += tensor.numel() * tensor.element_size()
        self._ring.broadcast(tensor)


def _order(
    session: Session, round_: int, settings: TrainingSettings, folder: Path | None, stopped: Callable[[], bool]
) -> Outcome:
    try:
        data = session.data(round_)
        evaluated = session.evaluate(data, round_ - 1, settings, lambda: False)
        trained = session.train(data, round_, settings, folder, stopped)
    except SkipError as error:
        return Outcome(type(error).__name__, str(error))
    finally:
        assert not any(p._post_accumulate_grad_hooks for p in session._model.parameters()), "nothing stays on the model"
    model = {name: tensor.numpy().copy() for name, tensor in on_host(session._model.state_dict()).items()}
    outcome = Outcome("", "", trained.samples, trained.metrics, dict(evaluated.metrics), model)
    if folder is not None:
        outcome.sent = {each: _read(folder / payload_file(each)) for each in (UPDATE, *trained.beside)}
        travelling = session._exchange.travels
        assert outcome.sent[UPDATE].keys() == {name for name in model if travelling(name)}
    return outcome


def _read(path: Path) -> dict[str, Any]:
    return {name: tensor.numpy().copy() for name, tensor in read(path).items()}


def _questions(drop_after: int, rank: int) -> Callable[[], bool]:
    asked = iter(range(10_000_000))
    return lambda: rank == 0 and next(asked) >= drop_after
