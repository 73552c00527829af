"""A task of a few milliseconds whose sites can be told by environment to wait, to stay away or to lack their data.

At the start of each training a site leaves its process id in marks/<site>-<round>. In the rounds of LAB_HOLD ("1,2") it
then waits for marks/go-<round>: a test does what it has to do in mid-round, however fast the rounds are.
"""

import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch

from fedtrainer import Data, DataMissingError, Task

MARKS = Path(__file__).parent / "marks"


def drawn():
    """From the generators of torch, numpy and Python, as tasks do that pass none on: the trainer has seeded them."""
    return torch.rand(1) + float(np.random.rand()) + random.random()  # noqa: NPY002


class Lab(Task):
    def __init__(self, width=0):
        self.width, self.shift = width, drawn()

    def model(self):
        if self.width:
            return torch.nn.Sequential(torch.nn.Linear(4, self.width), torch.nn.ReLU(), torch.nn.Linear(self.width, 1))
        return torch.nn.Linear(4, 1)

    def data(self, site):
        if os.environ.get("LAB_MODE") == "nodata":
            raise DataMissingError(os.environ.get("LAB_WORDS", "no rows in /data/rows: put rows.csv there"))
        if "LAB_WALK" in os.environ:  # names and bytes of the data below a folder, as a task sees them
            found = sorted((path.name, path.read_bytes().hex()) for path in site.data_dir.rglob("*") if path.is_file())
            (MARKS.parent / "walked.json").write_text(json.dumps(found))
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        inputs = torch.randn(48, 4, generator=generator) + 0.1 * drawn()
        targets = inputs.sum(dim=1, keepdim=True) + self.shift
        return Data((inputs[:32], targets[:32]), (inputs[32:], targets[32:]))

    def train(self, model, data, settings, ctx):
        MARKS.mkdir(exist_ok=True)
        (MARKS / f"{ctx.site.name}-{ctx.site.round}").write_text(str(os.getpid()))
        held = str(ctx.site.round) in os.environ.get("LAB_HOLD", "").split(",")
        while held and not (MARKS / f"go-{ctx.site.round}").exists():
            ctx.check()
            time.sleep(0.02)
        result = super().train(model, data, settings, ctx)
        broken = ctx.site.round >= int(os.environ.get("LAB_TIMES_FROM", "0"))
        with torch.no_grad():  # of a site that is broken
            for parameter in model.parameters():
                parameter.mul_(float(os.environ.get("LAB_TIMES", "1")) if broken else 1.0)
        return result


def task(width=0):
    if os.environ.get("LAB_MODE") == "never":
        time.sleep(3600)
    return Lab(width)
