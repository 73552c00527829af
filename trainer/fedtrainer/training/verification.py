"""Measures a restored model on a verification's own data: waits for the question, answers it. Called by `evaluate` in __main__.

Question and answer are files of a folder (fedapi.wire.verification): there is no network here, and no credential. What
the task does wrong is an answer too, and the exit code.
"""

import hashlib
import logging
import os
import signal
import time
from pathlib import Path

from fedapi.jsonvalue import JsonView
from fedapi.outcome import Exit
from fedapi.wire.message import Message
from fedapi.wire.verification import ANSWER_FILE, REQUEST_FILE, EvaluationAnswer, EvaluationRequest
from fedtrainer import termination
from fedtrainer.errors import BadSettingsError, DataMissingError, StopError, Terminated, TrainerError
from fedtrainer.ring.single import SingleRing
from fedtrainer.training.session import Session, Spec

log = logging.getLogger(__name__)

SITE = "verify"  # name of the Site that the task sees
_LOOK_S = 0.2


def evaluate(
    spec: str, args: JsonView, seed: int, threads: int, data_dir: Path, folder: Path, patience_s: float
) -> None:
    """Answers one question. StopError, which is in the answer, when the task cannot."""
    request = _asked(folder, patience_s)
    if not request.model:
        log.info("nothing is to be evaluated")
        return
    try:
        answer = _measured(Spec(spec, args, seed, threads, SITE, data_dir), folder, request)
    except TrainerError as error:
        code = error.exit if isinstance(error, StopError) else Exit.TASK_FAILED
        _put(folder / ANSWER_FILE, EvaluationAnswer(exit=code, message=str(error)[:2000]))
        raise
    _put(folder / ANSWER_FILE, answer)
    log.info("measured round %d on %d samples: %s", request.round, answer.samples, answer.metrics)


def _asked(folder: Path, patience_s: float) -> EvaluationRequest:
    """The question, once it is there."""
    path, end = folder / REQUEST_FILE, time.monotonic() + patience_s
    while not path.exists():
        if termination.wanted():
            raise Terminated(signal.SIGTERM)
        if time.monotonic() > end:
            raise BadSettingsError(f"no {path} came within {patience_s:.0f} s: nobody verifies a backup here")
        time.sleep(_LOOK_S)
    return EvaluationRequest.told(path.read_bytes())


def _measured(spec: Spec, folder: Path, request: EvaluationRequest) -> EvaluationAnswer:
    model = folder / request.model
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != request.sha256:
        raise BadSettingsError(f"{model} has SHA-256 {digest}, asked about was {request.sha256}")
    session = Session(spec, SingleRing("cpu"))
    session.load(model)
    result = session.evaluate(session.data(request.round), request.round, request.training, termination.wanted)
    if result is None or not result.samples:
        raise DataMissingError("data() gave no test data: a verification needs some to measure the model on")
    return EvaluationAnswer(metrics=result.metrics, samples=result.samples)


def _put(path: Path, message: Message) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(message.canonical())
    beside.replace(path)
