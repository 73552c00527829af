"""A model of any size whose training adds one to every parameter: all that is left is moving it."""

import torch

from fedtrainer import Data, Task, TrainResult


class AddOne(Task):
    def __init__(self, parameters):
        self.parameters = int(parameters)

    def model(self):
        holder = torch.nn.Module()
        holder.weight = torch.nn.Parameter(torch.zeros(self.parameters))
        return holder

    def data(self, site):
        return Data((torch.zeros(1, 1), torch.zeros(1, 1)))

    @torch.no_grad()
    def train(self, model, data, settings, ctx):
        model.weight.add_(1.0)
        return TrainResult(1)


def task(parameters):
    return AddOne(parameters)
