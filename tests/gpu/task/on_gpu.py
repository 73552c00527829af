"""A small classifier that leaves the device it trained on in marks/<site>-<rank>."""

from pathlib import Path

import torch

from fedtrainer import Data, Task

MARKS = Path(__file__).parent / "marks"
CLASSES, SIDE = 4, 12


class OnGpu(Task):
    def model(self):
        return torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 64), torch.nn.Tanh(), torch.nn.Linear(64, CLASSES)
        )

    def data(self, site):
        """Pictures whose brightest quarter is their class."""
        generator = torch.Generator().manual_seed(site.seed % 2**31)
        targets = torch.randint(0, CLASSES, (384,), generator=generator)
        inputs = torch.randn(384, 1, SIDE, SIDE, generator=generator)
        half = SIDE // 2
        for picture, target in zip(inputs, targets.tolist(), strict=True):
            row, column = target // 2 * half, target % 2 * half
            picture[0, row : row + half, column : column + half] += 0.5
        return Data((inputs[:320], targets[:320]), (inputs[320:], targets[320:]))

    def train(self, model, data, settings, ctx):
        MARKS.mkdir(exist_ok=True)
        device = next(model.parameters()).device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
        (MARKS / f"{ctx.site.name}-{ctx.ranks.rank}").write_text(f"{device} {name}")
        return super().train(model, data, settings, ctx)


def task():
    return OnGpu()
