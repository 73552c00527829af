"""Tasks for the tests beside it, chosen by `kind`."""

import os
import signal
import time
from pathlib import Path

import torch

from fedtrainer import Data, DataMissingError, EvalResult, Site, Task, TrainResult
from fedtrainer.training.state_files import StateFiles


class Tiny(Task):
    """Two classes in four dimensions, with dropout and batch norm, so that generators and buffers matter."""

    def model(self):
        return torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2), torch.nn.Linear(8, 2)
        )

    def data(self, site: Site) -> Data:
        generator = torch.Generator().manual_seed(site.seed)
        inputs = torch.randn(64, 4, generator=generator)
        targets = (inputs.sum(dim=1) > 0).long()
        return Data(train=(inputs[:48], targets[:48]), test=(inputs[48:], targets[48:]))


class NoData(Tiny):
    def data(self, site):
        raise DataMissingError(f"no file {site.data_dir / 'patients' / 'train.csv'}")


class NoFile(Tiny):
    def data(self, site):
        return Data(Path(site.data_dir / "absent.csv").read_text())


class Raises(Tiny):
    def train(self, model, data, settings, ctx):
        raise RuntimeError("out of luck")


class Greedy(Tiny):
    """Asks its device for 32 TiB."""

    def train(self, model, data, settings, ctx):
        torch.empty(1 << 45, dtype=torch.uint8, device=ctx.device)


class RaisesOnce(Tiny):
    """Fails in the first process: a later one delivers."""

    def train(self, model, data, settings, ctx):
        marker = Path(os.environ["TINY_MARKER"])
        if not marker.exists():
            marker.touch()
            raise RuntimeError("out of luck")
        return super().train(model, data, settings, ctx)


class ManyMetrics(Tiny):
    """As many metrics as may be, one with the longest name: Fedloom's own find no room."""

    def metrics(self, outputs, targets):
        return {f"m{n:02d}".ljust(63 if n == 0 else 3, "x"): 0.5 for n in range(32)}


class LongName(Tiny):
    def metrics(self, outputs, targets):
        return {"x" * 64: 0.5}


class BatchSize(Tiny):
    def evaluate(self, model, data, settings, ctx):
        return EvalResult(len(data.test[1]), {"batch_size": settings.batch_size})


class NaN(Tiny):
    def loss(self, outputs, targets):
        return super().loss(outputs, targets) * float("nan")


class NanWeights(Tiny):
    def train(self, model, data, settings, ctx):
        with torch.no_grad():
            next(model.parameters()).fill_(float("inf"))
        return TrainResult(5)


class NoParameters(Tiny):
    def model(self):
        return torch.nn.ReLU()


class OtherShape(Tiny):
    def model(self):
        return torch.nn.Linear(4, 3)


class WordMetric(Tiny):
    def metrics(self, outputs, targets):
        return {"accuracy": "good"}


class Endless(Tiny):
    def train(self, model, data, settings, ctx):
        while True:
            ctx.check()
            time.sleep(0.01)


class KilledOnce(Tiny):
    """Kills its process in epoch 2 (of 4), the first time."""

    def loss(self, outputs, targets):
        self.calls = getattr(self, "calls", 0) + outputs.requires_grad
        marker = Path(os.environ["TINY_MARKER"])
        if self.calls == 8 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(outputs, targets)


class Slow(Tiny):
    """Takes its time until the marker is there that the test sets; says that it trains by a file beside it."""

    calls = 0

    def loss(self, outputs, targets):
        marker = Path(os.environ["TINY_MARKER"])
        self.calls += outputs.requires_grad
        if self.calls >= 5 and not marker.exists():
            marker.with_suffix(".trains").touch()
            time.sleep(0.05)
        return super().loss(outputs, targets)


class AddOne(Tiny):
    def model(self):
        model = torch.nn.Linear(4, 2)
        torch.nn.init.zeros_(model.weight)
        return model

    def train(self, model, data, settings, ctx):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)
        return TrainResult(3, {"steps": 1})


class AddOneWhenLet(AddOne):
    """As long as a file is there, it trains."""

    def train(self, model, data, settings, ctx):
        while Path(os.environ["TINY_HOLD"]).exists():
            time.sleep(0.05)
        return super().train(model, data, settings, ctx)


class Counts(Tiny):
    """Counts in the site's state the trainings that count; says so in its metrics, and is killed once where it is told."""

    def __init__(self):
        stage = StateFiles.stage

        def staged(*args):
            stage(*args)
            self.kill("staged")

        StateFiles.stage = staged

    def train(self, model, data, settings, ctx):
        result = super().train(model, data, settings, ctx)
        ctx.state["n"] = ctx.state.get("n", torch.zeros(())) + 1
        ctx.state["layer"] = next(model.parameters())
        self.round = ctx.site.round
        self.kill("train")
        return TrainResult(result.samples, {"n": float(ctx.state["n"])})

    def evaluate(self, model, data, settings, ctx):
        self.kill("evaluate")
        found = float(ctx.state.get("n", torch.zeros(())))
        ctx.state["n"] = torch.tensor(99.0)  # of no consequence: an evaluation leaves no trace
        return EvalResult(4, {"n": found})

    round = 0

    def kill(self, where):
        told, _, marker = os.environ.get("TINY_KILL", "").partition(":")
        if told == where and self.round == 2 and not Path(marker).exists():
            Path(marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)


class Wide(Counts):
    """Has parameters that are worth a codec, and counts in its state beside."""

    def model(self):
        return torch.nn.Sequential(torch.nn.Linear(4, 600), torch.nn.BatchNorm1d(600), torch.nn.Linear(600, 2))


class WideAlone(Wide):
    """The same with no state of its own."""

    def train(self, model, data, settings, ctx):
        result = Tiny.train(self, model, data, settings, ctx)
        self.round = ctx.site.round
        self.kill("train")
        return result

    def evaluate(self, model, data, settings, ctx):
        self.kill("evaluate")
        return EvalResult(4, {"n": 0.0})


class Backboned(Tiny):
    """Most of its parameters are frozen."""

    def model(self):
        backbone = torch.nn.Linear(4, 600).requires_grad_(False)
        return torch.nn.Sequential(backbone, torch.nn.ReLU(), torch.nn.Linear(600, 2))


class Steered(Counts):
    """What its state holds is in every later model, as controls and residuals are."""

    def train(self, model, data, settings, ctx):
        if "layer" in ctx.state:
            with torch.no_grad():
                next(model.parameters()).add_(ctx.state["layer"], alpha=0.1)
        return super().train(model, data, settings, ctx)


def task(kind: str = "Tiny"):
    return globals()[kind]()


def broken():
    raise ValueError("no such thing")


def not_a_task():
    return object()
