"""A task whose pace a test chooses: linear regression, in one layer or two, on data that every site makes from its own seed."""

import socket
import time

import torch

from fedtrainer import Data, DataMissingError, Task


class Paced(Task):
    def __init__(self, seconds="0", need="", diverge="", inputs=8, hidden=0, hold=""):
        """`hold`: HOST:PORT of somebody for whom the second training of a process waits as long as he listens."""
        self.hold, self.trained = hold, False
        self.seconds, self.need, self.diverge = float(seconds), need, diverge
        self.inputs, self.hidden = inputs, hidden

    def model(self, width=1.0):
        if not self.hidden:
            return torch.nn.Linear(self.inputs, 1)
        hidden = round(self.hidden * width)
        return torch.nn.Sequential(torch.nn.Linear(self.inputs, hidden), torch.nn.Linear(hidden, 1))

    def data(self, site):
        if self.need and site.name == self.need:
            raise DataMissingError(f"{site.data_dir / 'patients.csv'} is not there")
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        inputs = torch.randn(64, self.inputs, generator=generator) * (8 / self.inputs) ** 0.5
        targets = inputs.sum(dim=1, keepdim=True) + 0.1 * torch.randn(64, 1, generator=generator)
        return Data((inputs[:48], targets[:48]), (inputs[48:], targets[48:]))

    def train(self, model, data, settings, ctx):
        until = time.monotonic() + self.seconds
        hold, self.trained = self.hold if self.trained else "", True
        while time.monotonic() < until or (hold and _listens(hold)):
            ctx.check()
            time.sleep(0.05)
        return super().train(model, data, settings, ctx)


def _listens(address):
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return False
    except OSError:  # he has no time
        pass
    return True


def task(**args):
    return Paced(**args)
