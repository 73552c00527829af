"""What a task leaves in the folder that it shares with a verification: no way to what only the verification may read or write."""

import errno
import os
from pathlib import Path

import pytest

from fedapi.wire.verification import ANSWER_FILE, REQUEST_FILE, EvaluationAnswer, EvaluationRequest
from fedbackup import evaluating
from fedbackup.errors import NotRestorableError, Reason


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "AWS_SECRET_ACCESS_KEY"
    path.write_text("wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY")
    return path


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "verify"
    made.mkdir()
    return made


def left_link(folder, secret):
    (folder / ANSWER_FILE).symlink_to(secret)


def left_text(folder, secret):
    (folder / ANSWER_FILE).write_text(secret.read_text())


def left_pipe(folder, secret):
    os.mkfifo(folder / ANSWER_FILE)


def left_folder(folder, secret):
    (folder / ANSWER_FILE).mkdir()


def left_too_much(folder, secret):
    with (folder / ANSWER_FILE).open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize("left", [left_link, left_text, left_pipe, left_folder, left_too_much])
def test_what_is_no_answer_is_refused_at_once_and_not_repeated(folder, secret, left):
    left(folder, secret)
    with pytest.raises(NotRestorableError, match=ANSWER_FILE) as caught:
        evaluating.answered(folder)
    assert caught.value.reason == Reason.EVALUATION_FAILED
    for at in range(0, 40, 8):
        assert secret.read_text()[at : at + 8] not in str(caught.value)


def test_an_answer_is_taken(folder):
    (folder / ANSWER_FILE).write_bytes(EvaluationAnswer(metrics={"accuracy": 0.5}, samples=3).canonical())
    assert evaluating.answered(folder).metrics == {"accuracy": 0.5}


def test_a_request_is_written_through_no_link(folder, secret):
    before = secret.read_text()
    (folder / REQUEST_FILE).symlink_to(secret)
    (folder / f".{REQUEST_FILE}.{os.getpid()}").symlink_to(secret)
    evaluating.ask(folder, EvaluationRequest(model=""))
    assert secret.read_text() == before
    assert EvaluationRequest.told((folder / REQUEST_FILE).read_bytes()).model == ""


@pytest.mark.parametrize("other_volume", [True, False])
def test_the_task_is_given_the_model_and_nothing_else_of_what_was_restored(
    folder, tmp_path, secret, monkeypatch, other_volume
):
    restored = tmp_path / "restored-1" / "models" / "000001"
    restored.parent.mkdir(parents=True)
    restored.write_bytes(b"model")
    if other_volume:
        monkeypatch.setattr(Path, "rename", refused)
    seen = []

    def task():
        seen.extend(folder.iterdir())
        (folder / ANSWER_FILE).write_bytes(EvaluationAnswer(samples=3).canonical())

    beside = evaluating.Beside(folder, 60, pause=lambda _: task())
    assert beside.answer(EvaluationRequest(model=str(restored))).samples == 3
    model, request = sorted(seen)
    assert (model.read_bytes(), request.name) == (b"model", REQUEST_FILE)
    assert EvaluationRequest.told(request.read_bytes()).model == model.name


def refused(self, target):
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_a_folder_that_the_task_has_blocked_fails_the_verification(folder):
    (folder / REQUEST_FILE).mkdir()
    with pytest.raises(NotRestorableError, match="cannot be given to the task") as caught:
        evaluating.ask(folder, EvaluationRequest(model=""))
    assert caught.value.reason == Reason.EVALUATION_FAILED
