"""A store that version 0.1 left in mid-round is gone on with, and gives the models that 0.1 would have made."""

import shutil
from pathlib import Path

from fedstore.disk import DiskStore
from tests.property.aggregator.simulation import Hub, job

STORE = Path(__file__).parent / "store-0.1"  # two sites, round 1 committed, of round 2 the update of one site accepted
MODELS = [
    "d0df3666ba6294a87567572c6c1459d52d23873a62453cb3c7bb1111834bbea4",
    "14c7d94bd00a31ad6d7ce0d182a6249ceaf6e18c9df309f88f187b4240923f5e",
    "be7eab2ed78d091ccfdeb3e4352467d4e3f67169627c834b755d111e6b4a0e85",
    "d51adab5ff45410d35ba7d9a0d38ab7694cbbaac174b1f472b06210495c2b94a",
]


def test_a_store_of_version_0_1_is_gone_on_with(tmp_path):
    shutil.copytree(STORE, tmp_path / "store")
    hub = Hub(job(("a", "b"), rounds=3), DiskStore(tmp_path / "store"))
    hub.start()
    assert (hub.state.round, list(hub.state.current.accepted), sorted(hub.state.reports)) == (2, ["a"], ["a", "b"])
    hub.hear("a", "b")
    while not hub.finished():
        for client in "ab":
            hub.evaluate(client)
        for client in "ab":
            hub.deliver(client)
    assert [commit.model.sha256 for commit in hub.commits()] == MODELS
    assert [round(score.metrics["accuracy"], 6) for score in hub.state.scores] == [0.0, 0.1, 0.2, 0.3]
    assert hub.named == []
