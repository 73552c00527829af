"""Adapters of verify.Evaluation: the task in a container beside this one, or in a process that is started here.

Both speak by files in one folder (fedapi.wire.verification). The task's process gets no credentials: in a cluster it is a
container of its own, here its environment holds what it needs and nothing else. The folder holds the request, the model, which
is handed over when it was checked, and the answer; what was restored lies elsewhere. What the task puts into it is not trusted: a
link there would lead to what only this process may read and write.
"""

import errno
import os
import secrets
import shutil
import stat
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
_LONGEST_BYTES = 1 << 20  # of an answer
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
    """Hands the model over and puts the request there. NotRestorableError when that cannot be written."""
    try:
        handed = _handed_over(Path(request.model), folder) if request.model else ""
        _put(folder / REQUEST_FILE, request.model_copy(update={"model": handed}))
    except OSError as error:
        text = f"the restored model cannot be given to the task by way of {folder}: {error.strerror}"
        raise NotRestorableError(Reason.EVALUATION_FAILED, text) from error


def _handed_over(model: Path, folder: Path) -> str:
    """Name of the model in the folder: the file itself, or a copy where the folder is of another volume."""
    name = f"model-{secrets.token_hex(8)}.safetensors"
    try:
        model.rename(folder / name)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with model.open("rb") as source, (folder / name).open("xb") as copy:
            shutil.copyfileobj(source, copy, 8 << 20)
    return name


def dismiss(folder: Path) -> None:
    """Lets a container that waits go: nothing will be asked."""
    if not (folder / REQUEST_FILE).exists():
        _put(folder / REQUEST_FILE, EvaluationRequest(model=""))


def answered(folder: Path) -> EvaluationAnswer:
    """What the task's process has left. NotRestorableError where it is no answer; what it is instead is not repeated."""
    path = folder / ANSWER_FILE
    try:
        return EvaluationAnswer.told(_taken(path))
    except OSError as error:
        why = error.strerror or str(error)
    except ValidationError as error:
        why = error.errors(include_input=False)[0]["msg"]
    raise NotRestorableError(Reason.EVALUATION_FAILED, f"{path} is no answer of the task: {why}"[:500])


def _taken(path: Path) -> bytes:
    """A plain file's content. OSError where it is a link, a pipe, or longer than any answer."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError("it is no plain file")
        data = file.read(_LONGEST_BYTES + 1)
    if len(data) > _LONGEST_BYTES:
        raise OSError(f"it has more than {_LONGEST_BYTES} bytes")
    return data


def _put(path: Path, message: Message) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with beside.open("xb") as file:  # new: never through a link that lies there
        file.write(message.canonical())
    beside.replace(path)
