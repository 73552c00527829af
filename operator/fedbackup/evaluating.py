"""Adapters of verify.Evaluation: the task in a container beside this one, or in a process that is started here.

Both speak by files in one folder (fedapi.wire.verification). The task's process gets no credentials: in a cluster it is a
container of its own, here its environment holds what it needs and nothing else.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fedapi.wire.message import Message
from fedapi.wire.verification import ANSWER_FILE, REQUEST_FILE, EvaluationAnswer, EvaluationRequest
from fedbackup.errors import NotRestorableError, Reason

_LOOK_S = 0.2
_ENVIRONMENT = ("PATH", "HOME", "TMPDIR", "LANG", "LD_LIBRARY_PATH")  # of ours that a task's process may need


@dataclass(frozen=True)
class Beside:
    """A container that waits for a request in the folder."""

    folder: Path
    patience_s: float
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def answer(self, request: EvaluationRequest) -> EvaluationAnswer:
        """As the port says."""
        ask(self.folder, request)
        end = self.clock() + self.patience_s
        while not (self.folder / ANSWER_FILE).exists():
            if self.clock() > end:
                text = f"the task did not answer within {self.patience_s:.0f} s: see the log of the container that evaluates"
                raise NotRestorableError(Reason.EVALUATION_FAILED, text)
            self.pause(_LOOK_S)
        return answered(self.folder)


@dataclass(frozen=True)
class Program:
    """A program that evaluates: `python -m fedtrainer evaluate`, in whatever environment has the task."""

    folder: Path
    command: Sequence[str]
    environment: Mapping[str, str]
    patience_s: float

    def answer(self, request: EvaluationRequest) -> EvaluationAnswer:
        """As the port says."""
        ask(self.folder, request)
        env = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | dict(self.environment)
        try:
            done = subprocess.run(self.command, env=env, timeout=self.patience_s, check=False)  # noqa: S603 - the caller's own
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotRestorableError(Reason.EVALUATION_FAILED, f"{self.command[0]}: {error}") from error
        if not (self.folder / ANSWER_FILE).exists():
            text = f"{self.command[0]} ended with {done.returncode} and gave no answer"
            raise NotRestorableError(Reason.EVALUATION_FAILED, text)
        return answered(self.folder)


def ask(folder: Path, request: EvaluationRequest) -> None:
    """Puts the request there, its model's file relative to the folder."""
    model = Path(request.model)
    inside = str(model.relative_to(folder.resolve())) if request.model else ""
    _put(folder / REQUEST_FILE, request.model_copy(update={"model": inside}))


def dismiss(folder: Path) -> None:
    """Lets a container that waits go: nothing will be asked."""
    if not (folder / REQUEST_FILE).exists():
        _put(folder / REQUEST_FILE, EvaluationRequest(model=""))


def answered(folder: Path) -> EvaluationAnswer:
    """What the task's process has left."""
    try:
        return EvaluationAnswer.told((folder / ANSWER_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise NotRestorableError(Reason.EVALUATION_FAILED, f"{folder / ANSWER_FILE}: {error}"[:500]) from error


def _put(path: Path, message: Message) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(message.canonical())
    beside.replace(path)
