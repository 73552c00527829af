"""What a site's process does with its folders, and those of other jobs, on its volume."""

import shutil
from contextlib import closing, suppress
from pathlib import Path

import pytest

from fedapi.wire.download import Download
from fedapi.wire.orders import TrainOrder
from fedapi.wire.training import TrainingSettings
from fedtrainer.agent import checkpoint_store
from fedtrainer.agent.checkpoint_store import CheckpointStore, Finished, Folder
from fedtrainer.settings import TrainerSettings
from fedtrainer.training import overwriting
from fedtrainer.training.overwriting import SMALL_BYTES

OURS, OLD = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_a_folder_that_another_process_deletes_meanwhile_is_none_of_its_business(tmp_path, monkeypatch):
    def deleted_by_another(job):
        shutil.rmtree(job)
        return 0.0

    (tmp_path / OLD / "a").mkdir(parents=True)
    monkeypatch.setattr(checkpoint_store, "_last_use", deleted_by_another)
    settings = TrainerSettings.model_construct(state_dir=tmp_path, job_uid=OURS, client="a", patience_s=1.0)
    with closing(CheckpointStore(settings)):
        assert [path.name for path in tmp_path.iterdir()] == [OURS]


def store(tmp_path) -> CheckpointStore:
    settings = TrainerSettings.model_construct(state_dir=tmp_path, job_uid=OURS, client="a", patience_s=1.0)
    return CheckpointStore(settings)


def order(round_: int) -> TrainOrder:
    model = Download(url="https://hub/model", sha256=f"{round_:064x}", size=1, expires_at=1.0)
    return TrainOrder(
        round=round_, attempt=1, model=model, evaluate=True, deadline=1.0, seed=0, training=TrainingSettings()
    )


def finished(folder, size: int) -> Finished:
    folder.update.write_bytes(b"u" * size)
    done = Finished("0" * 64, size, 1, {}, 0.0, "nonce")
    folder.finish(done)
    return done


def test_files_of_a_small_update_that_was_delivered_are_written_over_for_the_next_one(tmp_path):
    with closing(store(tmp_path)) as keep:
        first = keep.order(order(1))
        finished(first, 9)
        files = {path.stat().st_ino for path in first.path.iterdir()}
        first.discard()
        assert not first.path.exists()
        second = keep.order(order(2))
        assert second.finished() is None
        assert not second.update.exists()
        overwriting.write(second.path / "update.safetensors.partial", b"new")
        (second.path / "update.safetensors.partial").rename(second.update)
        second.finish(done := Finished("0" * 64, 3, 1, {}, 0.0, "nonce"))
        assert second.finished() == done
        assert second.update.read_bytes() == b"new"
        assert {path.stat().st_ino for path in second.path.iterdir()} == files


class KilledError(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("next_round", [1, 2])
@pytest.mark.parametrize("steps", range(4))
def test_a_kill_while_an_order_is_put_away_leaves_nothing_for_the_next_one(tmp_path, monkeypatch, steps, next_round):
    rename, left = Path.rename, iter(range(steps))

    def renamed(path, target):
        if next(left, None) is None:
            raise KilledError
        return rename(path, target)

    with closing(store(tmp_path)) as keep:
        first = keep.order(order(1))
        done = finished(first, 9)
        monkeypatch.setattr(Path, "rename", renamed)
        with suppress(KilledError):
            first.discard()
    monkeypatch.undo()
    with closing(store(tmp_path)) as keep:
        again = keep.order(order(next_round))
        assert again.finished() == (done if (next_round, steps) == (1, 0) else None)
        again.update.write_bytes(b"n" * 9)
        again.finish(new := Finished("1" * 64, 9, 1, {}, 0.0, "new"))
        assert again.finished() == new


@pytest.mark.parametrize("named", [("update.safetensors", "finished.json"), ("finished.json",)])
def test_an_update_of_the_order_before_is_not_taken_for_the_new_ones(tmp_path, named):
    """A power cut can leave the new names and the old bytes."""
    with closing(store(tmp_path)) as keep:
        first = keep.order(order(1))
        finished(first, 9)
        first.discard()
        second = keep.order(order(2))
        second.update.write_bytes(b"u" * 9)
        for name in named:
            old = second.path / ("finished.partial" if name == "finished.json" else f"{name}.partial")
            old.rename(second.path / name)
        assert second.finished() is None
        second.finish(done := Finished("0" * 64, 9, 1, {}, 0.0, "nonce"))
        assert second.finished() == done


def test_a_large_update_is_not_kept_and_one_folder_is_enough(tmp_path):
    with closing(store(tmp_path)) as keep:
        large, small, late = (keep.root / name for name in ("000001-1-x", "000002-1-x", "000003-1-x"))
        for path, size in ((large, SMALL_BYTES + 1), (small, 9), (late, 9)):
            path.mkdir()
            finished(Folder(path), size)
            Folder(path).discard()
        assert [path.name for path in keep.root.iterdir()] == ["spare"]
        keep.leave()
        assert list(keep.root.iterdir()) == []


def test_an_order_that_ended_without_an_update_leaves_nothing(tmp_path):
    with closing(store(tmp_path)) as keep:
        folder = keep.order(order(1))
        (folder.path / "checkpoint.safetensors").write_bytes(b"half")
        folder.discard()
        assert list(keep.root.iterdir()) == []


def test_the_file_of_a_small_model_is_the_next_ones_and_a_large_one_is_deleted(tmp_path):
    with closing(store(tmp_path)) as keep:
        first = keep.model("1" * 64)
        first.write_bytes(b"model")
        file = first.stat().st_ino
        second = keep.model("2" * 64)
        assert (first.exists(), second.stat().st_ino) == (False, file)
        second.write_bytes(b"m" * (SMALL_BYTES + 1))
        assert not keep.model("3" * 64).exists()
        assert not second.exists()


def test_a_model_that_the_next_one_may_be_made_of_stays(tmp_path):
    with closing(store(tmp_path)) as keep:
        first, second = (keep.next_model(digit * 64) for digit in "ab")
        for path in (first, second):
            path.write_bytes(b"model")
        keep.leave(second)
        assert list(keep.root.iterdir()) == [second]
        keep.leave()
        assert list(keep.root.iterdir()) == []
