"""The last model of a stopped run is damaged on disk: the next run says so by name, and a repair gives the same model."""

import json
import signal

from tests.integration.fedlocal.runs import TASK, Lab, finish, job, site

SITES = (site("north"), site("south", LAB_HOLD="2"))


def test_a_flipped_model_is_named_and_repaired(tmp_path, embedded_digest):
    undisturbed = embedded_digest([job(), site("north"), site("south")], TASK)
    lab = Lab.of(tmp_path, job(), *SITES)
    process = lab.start()
    lab.pid_in_round("south", 2)
    process.send_signal(signal.SIGINT)
    finish(process)
    (head,) = (lab.state / "claims").rglob("HEAD.json")
    store = head.parents[3]
    commit = json.loads((store / json.loads(head.read_bytes())["commit_key"]).read_bytes())
    model = store / commit["model"]["key"]
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.chmod(0o640)
    model.write_bytes(data)
    code, output = lab.run()
    assert code == 1
    assert f"StoreDamaged: the store is damaged: {commit['model']['key']}: its SHA-256 is " in output
    assert "fedloom store repair" in output
    assert f"HEAD was set to round {commit['round'] - 1} " in lab.fedloom("store", "repair", "lab").stdout
    lab.go(2)
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == undisturbed
