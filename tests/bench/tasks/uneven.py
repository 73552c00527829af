"""Nine numbers, to which a training adds one in the seconds that its site is told by environment."""

import os
import time

import addone
import torch


class Uneven(addone.AddOne):
    @torch.no_grad()
    def train(self, model, data, settings, ctx):
        end = time.monotonic() + float(os.environ["BENCH_SECONDS"])
        while (left := end - time.monotonic()) > 0:
            ctx.check()
            time.sleep(min(left, 0.02))
        return super().train(model, data, settings, ctx)


def task():
    return Uneven(9)
