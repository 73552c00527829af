"""Fashion-MNIST at sites of this process: the example's CNN and division, real trainings and the aggregator's own fold.

Used by the tests of how strategies learn. Nothing goes over a network, so that twenty rounds of ten sites take seconds; what
each strategy has at the sites and at the hub is the product's code, in its order.
"""

import heapq
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from fedaggregator.engine.folding import ModelNotFiniteError
from fedapi.wire.strategy import StrategySettings
from fedapi.wire.training import TrainingSettings
from fedcore.rounds.effects import Origin, Term
from fedtrainer import Data
from fedtrainer.errors import DivergedError
from tests.cluster import packages
from tests.unit.fedtrainer.training.methods.federation import Federation

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "fashion-mnist"
PACKAGE = {"dataset-fashion-mnist": "/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz"}
CHANNELS, SEED, ROUNDS, LAST = 8, 7, 20, 5
ROOT_IMAGES = 400
TIMES = -10.0  # what an attacker multiplies with what it has learned: the other way, and far enough to break a mean
SGD = TrainingSettings(batch_size=32, optimizer={"learning_rate": 0.1})
Images = tuple[torch.Tensor, torch.Tensor]


def module(name: str):
    """A file of the example, anew: what is set in it stays with who has loaded it."""
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_long_tests", EXAMPLE / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


TASK = module("fashion_mnist")


class Shop(TASK.FashionMnist):
    """A site with images in memory. `times`: what an attacker multiplies with what it has learned."""

    def __init__(self, images: Images, times: float = 1.0) -> None:
        super().__init__(CHANNELS)
        self.images, self.times = images, times

    def data(self, site) -> Data:
        """All are for training."""
        return Data(self.images)

    def train(self, model, data, settings, ctx):
        """As every site, and then further, or the other way."""
        before = [parameter.detach().clone() for parameter in model.parameters()]
        result = super().train(model, data, settings, ctx)
        if self.times != 1.0:
            with torch.no_grad():
                for parameter, was in zip(model.parameters(), before, strict=True):
                    parameter.copy_(was + self.times * (parameter - was))
        return result


class Division:
    """Images divided among sites by a Dirichlet distribution of each kind's shares, and those of the test."""

    def __init__(self, sites: int, images: int, alpha: float, tested: int = 10_000) -> None:
        packages.install(PACKAGE)
        prepare = module("prepare")
        self.names = [f"site_{number:02d}" for number in range(sites)]
        rng = np.random.default_rng(SEED)
        pixels, labels = prepare.read(prepare.SOURCE, "train")
        some, others = np.split(rng.permutation(len(labels)), [images])
        self.clean = _tensors(pixels[others[:ROOT_IMAGES]], labels[others[:ROOT_IMAGES]])
        self.chosen = _tensors(pixels[some], labels[some])
        self.parts = [torch.from_numpy(part) for part in prepare.dirichlet(labels[some], alpha, rng, sites)]
        self.test = _tensors(*(each[:tested] for each in prepare.read(prepare.SOURCE, "t10k")))

    def tasks(self, attackers: int = 0, root: str = "") -> dict[str, Shop]:
        """A site each; the last ones are the attackers. `root`: one more, whose images are of all kinds alike."""
        honest = len(self.names) - attackers
        found = {root: Shop(self.clean)} if root else {}
        return found | {
            name: Shop(tuple(each[part] for each in self.chosen), TIMES if number >= honest else 1.0)
            for number, (name, part) in enumerate(zip(self.names, self.parts, strict=True))
        }

    def accuracy(self, model: dict[str, torch.Tensor]) -> float:
        """On the test images."""
        net = TASK.FashionMnist(CHANNELS).model()
        net.load_state_dict(model)
        with torch.no_grad():
            return float((net(self.test[0]).argmax(dim=1) == self.test[1]).float().mean())


def _tensors(pixels: np.ndarray, labels: np.ndarray) -> Images:
    """As the example's task reads them."""
    images = torch.from_numpy(pixels.copy()).unsqueeze(1).float()
    return (images / 255 - TASK.MEAN) / TASK.SPREAD, torch.from_numpy(labels.copy()).long()


def learned(
    division: Division, strategy: StrategySettings, settings: TrainingSettings = SGD, attackers: int = 0
) -> float | None:
    """Mean accuracy of the last rounds' models, for one alone depends on which sites' last steps went well; None: no number."""
    with tempfile.TemporaryDirectory() as folder:
        models = rounds(Path(folder), division.tasks(attackers, strategy.root), strategy, settings)
        try:
            last = [division.accuracy(model) for model in islice(models, ROUNDS - LAST, ROUNDS)]
        except (DivergedError, ModelNotFiniteError):
            return None
    return round(sum(last) / LAST, 3)


def rounds(
    folder: Path, tasks: dict[str, Shop], strategy: StrategySettings, settings: TrainingSettings
) -> Iterator[dict[str, torch.Tensor]]:
    """The model after each round, without end."""
    job = Federation(folder, tasks, strategy, settings)
    if strategy.name == "FedBuff":
        yield from _buffers(job, int(strategy.parameters["buffer_size"]))
    while True:
        yield job.go_on()


def _buffers(job: Federation, size: int) -> Iterator[dict[str, torch.Tensor]]:
    """Asynchronous rounds: sites take one to four times as long as the first, and wait for the commit that has their update."""
    takes = {name: 1.0 + 3.0 * number / len(job.tasks) for number, name in enumerate(job.tasks)}
    working: list[tuple[float, str, Term]] = []

    def begin(now: float, name: str) -> None:
        origin = Origin(job.round + 1, 1, job.model.sha256)
        heapq.heappush(working, (now + takes[name], name, replace(job.term(name, job.train(name)), origin=origin)))

    for name in job.tasks:
        begin(0.0, name)
    while True:
        arrived = [heapq.heappop(working) for _ in range(size)]
        made = job.commit({name: term for _, name, term in sorted(arrived, key=lambda each: (each[2].origin.round, each[1]))})  # fmt: skip
        yield made
        for _, name, _ in arrived:
            begin(arrived[-1][0], name)
