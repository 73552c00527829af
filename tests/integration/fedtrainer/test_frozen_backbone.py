"""What does not travel is fetched once, in bytes: over rounds, and by the pod that comes after another."""

import pytest

from fedapi.outcome import Exit
from tests.integration.fedtrainer.programs import HERE, Site
from tests.integration.protocol.application import Hub
from tests.integration.protocol.faults import Answer, Delay


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    hub = Hub(tmp_path / "hub", rounds=4, inline=False)
    yield hub
    hub.close()


def test_a_frozen_backbone_is_fetched_once_by_all_processes_of_a_site(tmp_path, hub):
    site = Site(tmp_path / "site", hub, env={"FEDLOOM_PATIENCE_S": "0.2"})
    initial = site.initial_model("Backboned")
    whole = initial.stat().st_size
    hub.give(initial)
    hub.line.plan("updates", Delay(0), Delay(0), *[Answer(503)] * 50)
    assert site.call("train", "Backboned").code == Exit.AGGREGATOR_LOST
    hub.line.mend()
    ended = site.call("train", "Backboned")
    assert ended.code == 0, ended.log
    fetched = [len(each.answer) for each in hub.line.exchanges if each.route == "get" and each.status == 200]
    assert [size for size in fetched if size >= whole] == [whole], "the first order's model is the initial one"
    assert len(fetched) >= 5, "a model for each later round, for the last evaluation, and again after the kill"
    assert max(size for size in fetched if size != whole) < whole / 2
