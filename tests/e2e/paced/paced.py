"""A task whose pace a test chooses: linear regression on data that every site makes from its own seed."""

import time

import torch

from fedtrainer import Data, DataMissingError, Task


class Paced(Task):
    def __init__(self, seconds="0", need="", diverge=""):
        self.seconds, self.need, self.diverge = float(seconds), need, diverge

    def model(self):
        return torch.nn.Linear(8, 1)

    def data(self, site):
        if self.need and site.name == self.need:
            raise DataMissingError(f"{site.data_dir / 'patients.csv'} is not there")
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        inputs = torch.randn(64, 8, generator=generator)
        targets = inputs.sum(dim=1, keepdim=True) + 0.1 * torch.randn(64, 1, generator=generator)
        return Data((inputs[:48], targets[:48]), (inputs[48:], targets[48:]))

    def train(self, model, data, settings, ctx):
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            ctx.check()
            time.sleep(0.05)
        return super().train(model, data, settings, ctx)


def task(**args):
    return Paced(**args)
