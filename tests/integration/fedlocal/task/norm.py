"""A task of a few milliseconds whose model has parameters, float buffers and a counter: batch normalization before a sum."""

import torch

from fedtrainer import Data, Task


class Norm(Task):
    def model(self):
        return torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def data(self, site):
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        inputs = torch.randn(48, 4, generator=generator)
        targets = inputs.sum(dim=1, keepdim=True)
        return Data((inputs[:32], targets[:32]), (inputs[32:], targets[32:]))


def task():
    return Norm()
