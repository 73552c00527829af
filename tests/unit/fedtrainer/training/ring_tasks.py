"""Tasks for the tests of ranks, chosen by `kind`; RING_TEST_RANK says which rank a process is."""

import os
import signal

import torch

from fedtrainer import Data, Site, Task, TrainResult


def rank() -> int:
    return int(os.environ.get("RING_TEST_RANK", "0"))


class Cnn(Task):
    """Small pictures in three classes."""

    def __init__(self, samples: int = 26) -> None:
        self.samples = samples

    def model(self):
        return torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 16, 3)
        )

    def data(self, site: Site) -> Data:
        generator = torch.Generator().manual_seed(5)
        inputs = torch.randn(self.samples + 9, 1, 6, 6, generator=generator)
        targets = torch.randint(0, 3, (self.samples + 9,), generator=generator)
        return Data((inputs[:-9], targets[:-9]), (inputs[-9:], targets[-9:]))


class Norm(Cnn):
    """Batch norm and dropout."""

    def model(self):
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            torch.nn.Linear(36, 8),
            torch.nn.BatchNorm1d(8),
            torch.nn.Dropout(0.3),
            torch.nn.Linear(8, 3),
        )


class Backboned(Cnn):
    """Most of its parameters are frozen."""

    def model(self, width=1.0):
        hidden = round(500 * width)
        backbone = torch.nn.Linear(36, hidden).requires_grad_(False)
        return torch.nn.Sequential(torch.nn.Flatten(), backbone, torch.nn.ReLU(), torch.nn.Linear(hidden, 3))


class Masked(Norm):
    """Also a constant of infinities, and a metric of each rank's own."""

    def model(self):
        model = super().model()
        model.register_buffer("mask", torch.tensor([0.0, float("-inf"), float("nan")]))
        return model

    def metrics(self, outputs, targets):
        return {"accuracy": 0.5, f"of_rank_{rank()}": 1.0}


class NotANumber(Cnn):
    """At rank 1, in its second training step ever."""

    steps = 0

    def loss(self, outputs, targets):
        self.steps += outputs.requires_grad
        factor = float("nan") if rank() == 1 and self.steps == 2 else 1.0
        return super().loss(outputs, targets) * factor


class FewerSamples(Cnn):
    def data(self, site):
        self.samples = 26 - rank()
        return super().data(site)


class OtherSamples(Cnn):
    def data(self, site):
        data = super().data(site)
        data.train[0][0] += rank()
        return data


class OtherModel(Cnn):
    def model(self):
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3 + rank()))


class Alone(Cnn):
    """A loop of its own that forgets the other ranks."""

    def train(self, model, data, settings, ctx):
        with torch.no_grad():
            next(model.parameters()).add_(ctx.ranks.rank)
        return TrainResult(len(data.train[1]))


class Own(Cnn):
    """A loop of its own that does what the default does."""

    def train(self, model, data, settings, ctx):
        inputs, targets = data.train
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.optimizer.learning_rate)
        parallel = ctx.parallel(model)
        model.train()
        for epoch in range(settings.epochs):
            for index in torch.randperm(len(targets), generator=ctx.epoch_generator(epoch)).split(settings.batch_size):
                mine, factor = parallel.share(index)
                loss = self.loss(model(ctx.place(inputs[mine])), ctx.place(targets[mine]))
                optimizer.zero_grad()
                parallel.backward(loss * factor)
                optimizer.step()
                ctx.check()
        return TrainResult(len(targets), {"train_loss": parallel.mean(loss.item() * factor)})


class OwnCorrected(Cnn):
    """A loop of its own that lets a strategy have its part."""

    def train(self, model, data, settings, ctx):
        inputs, targets = data.train
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.optimizer.learning_rate)
        parallel = ctx.parallel(model)
        model.train()
        for epoch in range(settings.epochs):
            for index in torch.randperm(len(targets), generator=ctx.epoch_generator(epoch)).split(settings.batch_size):
                mine, factor = parallel.share(index)
                optimizer.zero_grad()
                parallel.backward(self.loss(model(inputs[mine]), targets[mine]) * factor)
                ctx.correct(optimizer, len(index))
                optimizer.step()
        return TrainResult(len(targets))


class OwnAlone(Cnn):
    """One that forgets the other ranks, with a strategy that moves no parameter."""

    def train(self, model, data, settings, ctx):
        inputs, targets = data.train
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        self.loss(model(inputs + rank()), targets).backward()
        ctx.correct(optimizer, len(targets))
        return TrainResult(len(targets))


class Reclaimed(Norm):
    """The pod of rank 1 is to go in its fifth step, once."""

    steps = 0

    def loss(self, outputs, targets):
        self.steps += outputs.requires_grad
        if rank() == int(os.environ.get("RING_TEST_LEAVES", "-1")) and self.steps == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(outputs, targets)


def task(kind: str, **args):
    return globals()[kind](**args)
