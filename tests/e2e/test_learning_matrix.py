"""Every strategy, selection policy and codec of the API on the real cluster: the models are those of `fedloom run`.

A row is a small job. All of a run share sites, and few are under way at a time. What the arithmetic has to be is proven
elsewhere; here it is that images, chart and operator bring each of them to a cluster as it is.
"""

import shutil
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from fedapi.crd.compression import Download
from fedapi.wire.commit import CommitRecord
from fedapi.wire.compression import Codec
from fedapi.wire.job import Policy
from fedapi.wire.plan import PlanRecord
from tests.conftest import PACED
from tests.e2e import world as worlds
from tests.e2e.world import World
from tests.integration.fedlocal import custom, strategies, together

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]
ROUNDS, SITES = 2, 7
AT_ONCE = 10  # pods that train: each begins with the imports of torch
ARGUMENTS = {"inputs": 256, "hidden": 8}  # so many parameters are encoded, and there are layers to take turns
ONE_OF_EACH = {"policy": "Stratified", "perRound": 2, "stratified": {"fields": ["Region"]}}
HALF_OF_ONE = [{"selector": {"matchLabels": {"number": "1"}}, "modelWidth": "0.5"}]
TOP = {"codec": "TopK", "topK": {"fraction": "0.25"}}


@dataclass(frozen=True)
class Row:
    """What a job has beside its strategy. `sites`: as few as strategy and policy take."""

    sites: int
    codec: dict[str, Any]
    clients: dict[str, Any]
    numbers: dict[str, Any]
    spec: dict[str, Any] = field(default_factory=dict)


def row(sites: int, codec: str | dict[str, Any], numbers: dict[str, Any] | None = None, **clients: Any) -> Row:
    """`numbers` of the strategy take the place of the table's."""
    return Row(sites, {"codec": codec} if isinstance(codec, str) else codec, clients, numbers or {})


ROWS = {  # by the names of strategies.TABLE
    "fedavg": row(3, "Int8", policy="Poisson", fraction="0.6"),
    "fedsgd": row(2, {"codec": "Float16", "download": {"codec": "Float16"}}),
    "fedprox": row(3, "BFloat16", policy="Random", perRound=2),
    "scaffold": row(2, {"codec": "Int4", "errorFeedback": True}),
    "diloco": row(2, "Int8", {"diLoCo": {"fragments": 2}}),
    "fedavgm": row(3, TOP, policy="Fair", perRound=2),
    "fedadagrad": row(2, {"codec": "BFloat16", "download": {"codec": "Int8"}}),
    "fedadam": row(3, {"codec": "Int8", "errorFeedback": True}, **ONE_OF_EACH),
    "fedyogi": row(2, TOP, {"subModels": "Overlap"}, overrides=HALF_OF_ONE),
    "fednova": row(2, "Float16", policy="ResourceAware"),
    "median-of-means": row(3, {"codec": "Int8", "download": {"codec": "Int8", "delta": True}}),
    "trimmed-mean-mixed": row(3, {"codec": "None", "download": TOP | {"delta": True}}),
    "krum": row(5, {"codec": "Int4", "download": {"codec": "Int4", "delta": True}}),
    "multi-krum": row(5, "BFloat16"),
    "geometric-median": row(2, {"codec": "Float16", "download": {"codec": "BFloat16"}}),
    "bulyan": row(7, "Int8"),
    "fltrust": row(2, {"codec": "BFloat16", "download": {"codec": "BFloat16", "delta": True}}),
    "custom": row(2, TOP | {"download": TOP | {"delta": True}}),
    "norm-clipping": replace(
        row(2, "Int4"), spec={"evaluation": {"heldOut": {"selector": {"matchLabels": {"number": "2"}}}}}
    ),
}
BUFFER = 2
ASYNCHRONOUS = {"fedbuff": row(3, "Int8", {"fedBuff": {"bufferSize": BUFFER}})}
ALL = ROWS | ASYNCHRONOUS


def document(name: str) -> dict[str, Any]:
    chosen = ALL[name]
    clients = {"minAvailable": chosen.clients.get("perRound", chosen.sites)} | chosen.clients
    task = {**worlds.job()["spec"]["task"], "args": ARGUMENTS}
    spec = {"task": task, "rounds": ROUNDS, "round": {"deadline": "10m"}, "compression": chosen.codec}
    return strategies.job(name, chosen.sites, clients=clients, strategy=chosen.numbers, **spec, **chosen.spec)


class Store:
    """What the folder of a job's store holds, wherever the job ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def commits(self) -> list[CommitRecord]:
        return worlds.commits(self.folder)[1:]

    @property
    def participants(self) -> list[tuple[str, ...]]:
        return [tuple(each.client for each in commit.participants) for commit in self.commits]

    @cached_property
    def plans(self) -> list[PlanRecord]:
        return [PlanRecord.model_validate_json(path.read_bytes()) for path in self.folder.rglob("plan.json")]


@pytest.fixture(scope="module")
def sites():
    return [strategies.numbered(number, region=f"r{number % 2}") for number in range(SITES)]


@pytest.fixture(scope="module")
def embedded(sites, tmp_path_factory):
    """{job: (digest of its model, its store)} of `fedloom run`."""
    folder = tmp_path_factory.mktemp("embedded")
    shutil.copy(PACED / "paced.py", folder)
    (folder / "manifests.yaml").write_text(yaml.safe_dump_all([*map(document, ROWS), *sites]))
    with custom.installed(tmp_path_factory.mktemp("packages")):
        endings = together.run_all(folder, ROWS)
    assert {name: ending.message for name, (ending, _) in endings.items() if ending.phase != "Complete"} == {}
    return {
        name: (ending.job["status"]["model"]["sha256"], Store(state.root)) for name, (ending, state) in endings.items()
    }


def _ended(world, names):
    return {name for name in names if world.ended(name)}


@pytest.fixture(scope="module")
def on_cluster(platform, sites):
    """{job: its store} of jobs that all completed, and their namespace."""
    with World.create(platform.kubeconfig, "learning-matrix") as world:
        world.apply(sites)
        waiting, running = sorted(ALL, key=lambda name: -ALL[name].sites), set()
        while waiting or running:
            for name in tuple(waiting):
                if sum(ALL[each].sites for each in (name, *running)) <= AT_ONCE:
                    world.apply([document(name)])
                    waiting.remove(name)
                    running.add(name)
            running -= world.wait("a job to end", partial(_ended, world, running))
        claims = {each["metadata"]["labels"]["fedloom.dev/job"]: each["metadata"]["uid"] for each in world.list("pvc")}
        volumes = platform.dirs.run / "volumes"
        yield world, {name: Store(volumes / f"pvc-{uid}") for name, uid in claims.items()}


def test_each_strategy_policy_and_codec_is_in_a_row():
    chosen = [strategies.TABLE[name][0] for name in ALL]
    assert {strategy["name"] for strategy in chosen} == strategies.NAMES
    assert {row.clients.get("policy", "All") for row in ROWS.values()} == set(get_args(Policy))
    assert {row.codec["codec"] for row in ROWS.values()} == set(get_args(Codec))
    down = {row.codec["download"]["codec"] for row in ROWS.values() if "download" in row.codec}
    assert down == set(get_args(Download.model_fields["codec"].annotation))
    assert {strategy["preAggregation"]["name"] for strategy in chosen if "preAggregation" in strategy} == {
        "Bucketing",
        "NearestNeighbourMixing",
    }


def completed(on_cluster, name):
    """Its status, and its store."""
    world, stores = on_cluster
    status = world.completes(name)
    assert status["round"]["progress"] == f"{ROUNDS}/{ROUNDS}"
    assert {plan.codec for plan in stores[name].plans} == {ALL[name].codec["codec"]}
    return status, stores[name]


@pytest.mark.parametrize("name", ROWS)
def test_the_model_is_that_of_fedloom_run(name, embedded, on_cluster):
    status, store = completed(on_cluster, name)
    digest, undisturbed = embedded[name]
    assert store.participants == undisturbed.participants
    assert status["model"]["sha256"] == digest


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].codec.get("download", {}).get("delta")])
def test_the_second_model_has_come_as_a_delta_to_the_first(name, on_cluster):
    _, store = completed(on_cluster, name)
    initial = worlds.commits(store.folder)[0].model
    of = {plan.round: plan.broadcast and plan.broadcast.of for plan in store.plans}
    assert of == {1: None, 2: initial}


@pytest.mark.parametrize("name", ASYNCHRONOUS)
def test_asynchronous_rounds_fill_their_buffers_and_count_each_order_once(name, on_cluster):
    """Which sites are in a buffer is the cluster's doing, so there is no other model to compare with."""
    status, store = completed(on_cluster, name)
    assert status["model"]["sha256"] == store.commits[-1].model.sha256
    assert [len(who) >= BUFFER for who in store.participants] == [True] * ROUNDS
    orders = [
        (part.client, part.order.round if part.order else commit.round)
        for commit in store.commits
        for part in commit.participants
    ]
    assert len(set(orders)) == len(orders)


@pytest.mark.parametrize("name", [name for name in ROWS if "evaluation" in ROWS[name].spec])
def test_the_site_that_is_held_out_has_evaluated_the_last_model(name, on_cluster):
    status, store = completed(on_cluster, name)
    assert (status["heldOut"]["round"], status["heldOut"]["sites"]) == (ROUNDS, "1/1")
    assert store.participants == [("site-0", "site-1")] * ROUNDS
