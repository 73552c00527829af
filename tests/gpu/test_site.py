"""A site's program on a GPU, against the real aggregator: ranks joined by NCCL deliver one update; too little memory is told."""

import pytest

from fedapi.outcome import Exit
from tests.gpu.test_rings import NCCL
from tests.integration.fedtrainer.programs import HERE, Site, end_all
from tests.integration.protocol.application import Hub


@pytest.fixture(autouse=True)
def tasks_on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()


@pytest.fixture
def hub(tmp_path):
    hub = Hub(tmp_path / "hub", rounds=2, training={"batch_size": 10})
    yield hub
    hub.close()


@pytest.mark.parametrize("collective", ["Horovod", "TorchDistributed"])
def test_ranks_joined_by_nccl_deliver_one_update(tmp_path, gpu, hub, collective):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    codes = site.end_ranks(site.start_ranks("Tiny", collective=collective, **NCCL))
    log = (site.folder / "log").read_text()
    assert codes == [0, 0], log
    assert log.count(f"on cuda:0, {gpu}") == 2
    assert [(m.round, m.samples) for m in hub.updates] == [(1, 48), (2, 48)]
    assert not hub.failures


def test_a_gpu_without_room_is_named_in_the_reason(tmp_path, hub):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    ended = site.run("train", "Greedy")
    assert ended.code == Exit.TASK_FAILED, ended.log
    assert "train(): the device has too little memory: lower training.batchSize, raise" in ended.reason
    assert "CUDA out of memory. Tried to allocate 32768.00 GiB" in ended.reason
