"""The lab's task at sites that a test watches and breaks in a round under masks.

What each site trained is in marks/<site>-<round>.npz. MASKED_STOPS ("2:Share,3:Mask"): before it says that of that round, its process
is killed, once, in the round's first attempt. MASKED_LATE: what comes back after that is there when nobody waits any more. MASKED_HOLD ("2:Consent"): it leaves
marks/at-<site>-<round>-<step> and waits for marks/go-<round>-<step>.
"""

import os
import signal
import time
from pathlib import Path

import lab
import numpy as np

from fedtrainer.agent import securing

MARKS = Path(__file__).parent / "marks"
LATE_S = 30.0


class Masked(lab.Lab):
    def train(self, model, data, settings, ctx):
        base = {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}
        result = super().train(model, data, settings, ctx)
        local = {name: value.detach().numpy() for name, value in model.state_dict().items()}
        np.savez(MARKS / f"{ctx.site.name}-{ctx.site.round}.npz", **{name: local[name] - base[name] for name in base})
        return result


def _asked(step: str, name: str) -> bool:
    return step in os.environ.get(name, "").split(",")


def _said(self, answer):
    """What a site does before it says something."""
    step, site = f"{self._order.round}:{answer.step}", self._own.settings.client
    at, go = MARKS / f"at-{site}-{step}", MARKS / f"go-{step}"
    if self._order.attempt > 1:
        return _honest(self, answer)
    if _asked(step, "MASKED_STOPS") and not at.exists():
        at.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if _asked(step, "MASKED_STOPS") and "MASKED_LATE" in os.environ:
        time.sleep(LATE_S)
    if _asked(step, "MASKED_HOLD"):
        at.touch()
        while not go.exists():
            time.sleep(0.02)
    return _honest(self, answer)


_honest, securing.Securing._said = securing.Securing._said, _said


def task(width=0):
    return Masked(width)
