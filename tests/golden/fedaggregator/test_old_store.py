"""Stores that a released version left in mid-round are gone on with, and give the models that it would have made.

store-0.1: two sites, round 1 committed, of round 2 the update of one site accepted. store-0.1-closing: three sites, of round
2 the first attempt failed, the second closed without the third site, and the process died in the fold. Both were written
by the code of 0.1, and so were the digests. store-2 is the second one by this version: refreshed as long as that is not released.
"""

import os
import shutil
from pathlib import Path

import pytest

from fedcore.rounds.events import Ticked
from fedcore.rounds.state import Phase
from fedstore.disk import DiskStore
from tests.property.fedaggregator.simulation import Hub, job

HERE = Path(__file__).parent
FIRST = "d0df3666ba6294a87567572c6c1459d52d23873a62453cb3c7bb1111834bbea4"
MODELS = [
    FIRST,
    "14c7d94bd00a31ad6d7ce0d182a6249ceaf6e18c9df309f88f187b4240923f5e",
    "be7eab2ed78d091ccfdeb3e4352467d4e3f67169627c834b755d111e6b4a0e85",
    "d51adab5ff45410d35ba7d9a0d38ab7694cbbaac174b1f472b06210495c2b94a",
]
CLOSING_MODELS = [
    FIRST,
    "0cb6359b61565afb06dfd9f3b91cf22738c65d5eacbd6fd60a23f8e5ffdbb206",
    "c1f156a5d154819c4510056a5225efa5301a32e88d56abff0758982c6de5d415",
    "323192f0d8077f7769f6cee4dd03ca3db5081b07a8235c3cdc040908de8aec61",
]
CLOSING = {"quorum": 2, "grace_after_quorum_s": 5.0}


def gone_on(folder: Path, clients: str, **values) -> Hub:
    """Everything from the store to the end of the job."""
    hub = Hub(job(tuple(clients), rounds=3, **values), DiskStore(folder))
    hub.start()
    hub.hear(*clients)
    while not hub.finished():
        for client in clients:
            hub.evaluate(client)
        for client in clients:
            hub.deliver(client)
    assert hub.named == []
    return hub


def test_a_store_of_version_0_1_is_gone_on_with(tmp_path):
    shutil.copytree(HERE / "store-0.1", tmp_path / "store")
    hub = Hub(job(("a", "b"), rounds=3), DiskStore(tmp_path / "store"))
    hub.start()
    assert (hub.state.round, list(hub.state.current.accepted), sorted(hub.state.reports)) == (2, ["a"], ["a", "b"])
    hub = gone_on(tmp_path / "store", "ab")
    assert [commit.model.sha256 for commit in hub.commits()] == MODELS
    assert [round(score.metrics["accuracy"], 6) for score in hub.state.scores] == [0.0, 0.1, 0.2, 0.3]


@pytest.mark.parametrize("store", ["store-0.1-closing", "store-2"])
def test_a_fold_that_was_under_way_is_made_by_its_plan(store, tmp_path):
    shutil.copytree(HERE / store, tmp_path / "store")
    hub = gone_on(tmp_path / "store", "abc", **CLOSING)
    assert [commit.model.sha256 for commit in hub.commits()] == CLOSING_MODELS
    assert [participant.client for participant in hub.commits()[2].participants] == ["a", "b"]
    assert [round(score.metrics["accuracy"], 6) for score in hub.state.scores] == [0.0, 0.1, 0.2, 0.3]


def left_in_the_fold(folder: Path) -> None:
    """What store-2 holds, and how store-0.1-closing was made with the code of 0.1."""
    hub = Hub(job(tuple("abc"), rounds=3, **CLOSING), DiskStore(folder))
    hub.start()
    hub.hear(*"abc")
    for act in (hub.evaluate, hub.deliver):
        for client in "abc":
            act(client)
    hub.fail("b")
    hub.fail("c")
    for act in (hub.evaluate, hub.deliver):
        for client in "ab":
            act(client)
    hub.interpreter.fold = None  # dies there
    with pytest.raises(TypeError):
        hub.handle(Ticked(hub.now + 6))
    assert (hub.state.phase, hub.state.attempt) == (Phase.FOLDING, 2)


def files(folder: Path) -> dict[str, bytes]:
    kinds = ("control", "models", "updates")
    paths = (path for kind in kinds for path in (folder / kind).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def test_records_have_the_form_of_this_version(tmp_path):
    left_in_the_fold(tmp_path / "store")
    found = files(tmp_path / "store")
    if os.environ.get("FEDLOOM_REFRESH_GOLDEN"):
        shutil.rmtree(HERE / "store-2", ignore_errors=True)
        for path, data in found.items():
            (HERE / "store-2" / path).parent.mkdir(parents=True, exist_ok=True)
            (HERE / "store-2" / path).write_bytes(data)
    assert found == files(HERE / "store-2")
    kinds = {path.rpartition("/")[2].rpartition("-a2.")[2] for path in found}
    assert kinds >= {
        "HEAD.json",
        "plan.json",
        "close.json",
        "commit.json",
        "evaluation.json",
        "failure.json",
        "manifest.json",
    }
