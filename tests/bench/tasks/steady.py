"""A training of a set time that notes how long it has lasted while it goes on, so that one that is killed is counted too.

Each training has a file of its own below `trained`: `<site>-<round>-<process id>`, with its seconds so far.
"""

import os
import time
from pathlib import Path

import torch

from fedtrainer import Data, Task, TrainResult

TRAINED = Path(__file__).parent / "trained"
STEP_S = 0.05


class Steady(Task):
    def __init__(self, seconds):
        self.seconds = float(seconds)

    def model(self):
        return torch.nn.Linear(8, 1)

    def data(self, site):
        return Data((torch.zeros(1, 8), torch.zeros(1, 1)))

    def train(self, model, data, settings, ctx):
        TRAINED.mkdir(exist_ok=True)
        note = TRAINED / f"{ctx.site.name}-{ctx.site.round}-{os.getpid()}"
        began, lasted = time.monotonic(), 0.0
        while lasted < self.seconds:
            ctx.check()
            time.sleep(STEP_S)
            lasted = time.monotonic() - began
            note.write_text(f"{lasted:.3f}")
        return TrainResult(1)


def task(seconds):
    return Steady(seconds)
