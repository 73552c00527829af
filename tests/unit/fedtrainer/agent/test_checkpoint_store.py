"""What a site's process does with the folders of other jobs on its volume."""

import shutil
from contextlib import closing

from fedtrainer.agent import checkpoint_store
from fedtrainer.agent.checkpoint_store import CheckpointStore
from fedtrainer.settings import TrainerSettings

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
