"""kill -9 of an aggregator whose strategy remembers, or whose sites do: models and memory are those of the undisturbed run.

What the scripted sites send shows a loss in what follows: SCAFFOLD's controls depend on the sum of controls that an order
brings, and with TopK they keep what was not sent. FedBuff, where who comes first decides, has a module of its own.
"""

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.wire.compression import Compression, codec
from fedapi.wire.privacy import Privacy
from fedapi.wire.strategy import StrategySettings
from tests.chaos.fedaggregator.restarted import run_killed
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.unit.fedcore.compression.coding import file_of, sent

CLIENTS = ("a", "b")
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
BY_URL = {"FEDLOOM_HTTP_INLINE_BYTES": "0"}
TOP = Compression(codec="TopK", fraction=0.05, error_feedback=True)
CENTRAL = Privacy(mode="Central", clip_norm=1.0, target_epsilon=5.0, delta=1e-5)
ADAM = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 0.001}


def strategy(name: str, **parameters: float) -> dict[str, Any]:
    return {"strategy": StrategySettings(name=name, parameters=parameters)}


JOBS = {
    "FedAvgM": strategy("FedAvgM", momentum=0.9, learning_rate=0.5),
    "FedAdam": strategy("FedAdam", **ADAM),
    "SCAFFOLD": strategy("SCAFFOLD", learning_rate=0.5),
    "TopK": {"compression": TOP},
    "FedAdam and TopK": strategy("FedAdam", **ADAM) | {"compression": TOP},
    "noise": strategy("FedAvgM", momentum=0.9, learning_rate=0.5) | {"privacy": CENTRAL},
    "noise by layers": strategy("FedAvgM", momentum=0.9, learning_rate=0.5)
    | {"privacy": CENTRAL.model_copy(update={"clipping": "PerLayer"})},
}
PAYLOAD = r"client_b_round_2-[0-9a-f]{64}"
MANIFEST = ("after the manifest", f"{INTERPRETER}.write_manifest", "after", 3)
FOLD = ("in mid-fold", "fedcore.strategies.folding:folded", "after", 3)
ABSORBED = ("in mid-fold, of controls", "fedaggregator.engine.blocks:_absorbed", "after", 2)
MEMORY = ("after the hub state, before the model", "fedstore.disk:DiskStore.link", "after", 2, "hubstate/")
COMMIT = ("after commit.json, before HEAD", f"{INTERPRETER}.write_commit", "after", 3)
HEAD = ("after HEAD, before anybody is told", f"{INTERPRETER}.move_head", "after", 3)
BETWEEN = ("between the two payloads of an update", "fedstore.disk:DiskStore.name", "after", 1, PAYLOAD)
BOTH = ("after both, before their manifest", "fedstore.disk:DiskStore.name", "after", 2, PAYLOAD)
ONE = ("after an update, before its manifest", "fedstore.disk:DiskStore.name", "after", 1, PAYLOAD)
POINTS = {
    "FedAvgM": (FOLD, MEMORY, COMMIT),
    "FedAdam": (FOLD, MEMORY, COMMIT, HEAD),
    "SCAFFOLD": (BETWEEN, BOTH, MANIFEST, FOLD, ABSORBED, MEMORY, COMMIT, HEAD),
    "TopK": (ONE, MANIFEST, FOLD, COMMIT, HEAD),
    "FedAdam and TopK": (FOLD, MEMORY),
    "noise": (MANIFEST, FOLD, MEMORY, COMMIT, HEAD),  # a second draw would tell the first one's sum
    "noise by layers": (FOLD,),
}
CALLS = [
    *(pytest.param(name, [*map(str, p[1:])], {}, id=f"{name}: {p[0]}") for name in POINTS for p in POINTS[name]),
    *(
        pytest.param(name, [*map(str, p[1:])], BY_URL, id=f"{name}: {p[0]}, by URL")
        for name, p in [("SCAFFOLD", BETWEEN), ("SCAFFOLD", BOTH), ("TopK", ONE)]
    ),
]


class Keeping(Site):
    """Encodes as an order says, and adds to each update what was not sent of the one before."""

    def __init__(self, *words: Any, **values: Any) -> None:
        super().__init__(*words, **values)
        self.left: dict[int, dict[str, np.ndarray]] = {}  # by round: one that is trained again leaves the same

    def payload(self, order, sent):
        return super().payload(order, sent).model_copy(update={"codec": codec(order.compression)})

    def upload(self, order, data, **beside):
        if order.compression is None:
            return super().upload(order, data, **beside)
        update, left = load(data), self.left.get(order.round - 1, {})
        whole = {name: value + left.get(name, np.zeros_like(value)) for name, value in sorted(update.items())}
        decoded = sent(whole, order.compression.encoding)
        self.left[order.round] = {name: value - decoded[name] for name, value in whole.items()}
        return super().upload(order, file_of(whole, order.compression.encoding), **beside)


def job_of(folder, name, **more):
    model = {"layer.weight": np.arange(2048, dtype=np.float32).reshape(2, 1024), "layer.bias": np.zeros(2, np.float32)}
    return JobFolder(folder, config(CLIENTS, **JOBS[name]), model=model, **more)


def objects(job: JobFolder) -> list[tuple[str, str | None]]:
    return [(commit.model.sha256, commit.hub_state and commit.hub_state.sha256) for commit in job.commits()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What each job's commits hold when nothing is killed."""
    known = {}

    def made(name):
        if name not in known:
            job = job_of(tmp_path_factory.mktemp("undisturbed"), name)
            with Aggregator(job).ready():
                run_sites(job, kind=Keeping)
            known[name] = objects(job)
        return known[name]

    return made


@pytest.mark.parametrize(("name", "call", "env"), CALLS)
def test_killed_at(tmp_path, undisturbed, name, call, env):
    job = job_of(tmp_path, name, extra_env=env)
    run_killed(job, [Keeping(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)], call)
    assert objects(job) == undisturbed(name)


@pytest.mark.parametrize("name", JOBS)
def test_what_is_remembered_differs_from_round_to_round(undisturbed, name):
    """Else a lost memory would show nowhere."""
    found = undisturbed(name)
    remembers = "strategy" in JOBS[name]
    assert [state is not None for _, state in found[1:]] == [remembers] * (len(found) - 1)
    assert len({state for _, state in found} if remembers else {model for model, _ in found}) == len(found)


@pytest.mark.parametrize("name", [name for name in JOBS if "TopK" in name])
def test_what_was_not_sent_is_in_later_models(tmp_path, undisturbed, name):
    class Forgetting(Keeping):
        def upload(self, order, data, **beside):
            self.left.clear()
            return super().upload(order, data, **beside)

    job = job_of(tmp_path, name)
    with Aggregator(job).ready():
        run_sites(job, kind=Forgetting)
    assert objects(job)[:2] == undisturbed(name)[:2]
    assert objects(job)[2:] != undisturbed(name)[2:]
