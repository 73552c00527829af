"""The trainer itself as the ranks of a launcher: two pods, an aggregator over HTTPS, a pod that has to go."""

import signal
import threading

import pytest

from fedapi import names
from tests.integration.fedtrainer.launch.pool import Pool
from tests.integration.fedtrainer.programs import HERE, Site
from tests.integration.protocol.application import UID, Hub
from tests.integration.protocol.faults import Held
from tests.waiting import PATIENCE_S, until


@pytest.fixture
def hub(tmp_path):
    hub = Hub(tmp_path / "hub", rounds=2, training={"epochs": 2, "batch_size": 16})
    yield hub
    hub.close()


def test_two_pods_train_as_one_site_and_go_on_after_one_has_left(tmp_path, hub, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    model = Site(tmp_path / "init", hub).initial_model("Tiny")
    base = Site(tmp_path / "site", hub).environment("Tiny")  # one folder for both: rank 0 alone writes there
    kept = {key: value for key, value in base.items() if not key.startswith(names.ENV_CREDENTIALS_DIR)}
    own = {
        names.ENV_COLLECTIVE: "TorchDistributed",
        "FEDLOOM_POLL_S": "0.2",
        names.ENV_CREDENTIALS_DIR: base[names.ENV_CREDENTIALS_DIR],
    }
    token = hub.token("site-a")
    pool = Pool(tmp_path, program=("-m", "fedtrainer", "train"), env={**kept, **own})
    pool.env.pop(names.ENV_TERMINATION_LOG)
    paused = threading.Event()
    hub.line.plan("updates", Held(paused))  # the second round waits until the other pod is there
    try:
        pods = [pool.start(0, token=token), pool.start(1, token=token)]
        hub.give(model)
        until(lambda: hub.step == "Train")
        hub.pause()
        paused.set()
        until(lambda: hub.updates)
        pods[1].terminate()
        assert pods[1].wait(PATIENCE_S) == 128 + signal.SIGTERM, pool.log(1)
        pods[1] = pool.start(1, token=token)
        until(lambda: "generation=2" in pool.log(0))  # rank 0 was idle and was ended by its launcher
        hub.pause(False)
        assert [pod.wait(PATIENCE_S) for pod in pods] == [0, 0], pool.log(0) + pool.log(1)
    finally:
        paused.set()
        pool.close()
    assert [(m.round, m.client, m.samples, m.job_uid) for m in hub.updates] == [
        (1, "site-a", 48, UID),
        (2, "site-a", 48, UID),
    ]
    assert all(abs(tensor).max() < 1e6 for m in hub.updates for tensor in hub.tensors(m).values())
    assert "[rank 1] " in pool.log(1)
    assert not (tmp_path / "site" / "termination-log").exists()
