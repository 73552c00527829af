"""Processes killed in mid-round of a job whose sites keep what they have not sent: the model is that of the undisturbed run."""

import os
import signal

import pytest

from tests.integration.fedlocal.runs import TASK, Lab, finish, hubs, job, site

SPEC = {
    "task": {"entrypoint": "lab:task", "image": "none", "args": {"width": 1200}},
    "training": {"optimizer": {"learningRate": "0.002"}},
    "compression": {"codec": "TopK", "topK": {"fraction": "0.05"}},
    "rounds": 4,
}


def keeping(name, **env):
    """A site whose state outlives its pod."""
    made = site(name, **env)
    made["spec"]["state"] = {"persistentVolumeClaim": {"claimName": f"{name}-state"}}
    return made


@pytest.fixture
def undisturbed(embedded_digest):
    return embedded_digest([job(**SPEC), keeping("north"), keeping("south")], TASK)


@pytest.mark.parametrize("killed", ["trainer", "aggregator", "run"])
def test_what_was_not_sent_survives(tmp_path, undisturbed, killed):
    lab = Lab.of(tmp_path, job(**SPEC), keeping("north"), keeping("south", LAB_HOLD="3"))
    try:
        process = lab.start()
        trainer = lab.pid_in_round("south", 3)
        if killed == "trainer":
            os.kill(trainer, signal.SIGKILL)
        elif killed == "aggregator":
            (aggregator,) = hubs(process.pid)
            os.kill(aggregator, signal.SIGKILL)
        else:
            process.send_signal(signal.SIGKILL)
            assert finish(process)[0] == -signal.SIGKILL
            process = lab.start()
        lab.go(3)
        code, output = finish(process)
        assert code == 0, output
        assert lab.digest() == undisturbed
        said = (lab.state / "logs" / "south.log").read_text()
        assert "begins with nothing" not in said, "its residuals were there"
    finally:
        lab.close()
