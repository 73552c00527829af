"""The ledger of a stopped run loses a file: the next run says so, a repair has it begun anew, and the model is the same."""

import signal

from tests.chaos.fedlocal.test_damaged_store import SITES
from tests.integration.fedlocal.runs import TASK, Lab, finish, job, site


def said(lab, *words):
    return " ".join(lab.fedloom(*words).stdout.split())


def test_a_lost_ledger_is_named_repaired_and_told(tmp_path, embedded_digest):
    undisturbed = embedded_digest([job(), site("north"), site("south")], TASK)
    lab = Lab.of(tmp_path, job(), *SITES)
    process = lab.start()
    lab.pid_in_round("south", 2)
    process.send_signal(signal.SIGINT)
    finish(process)
    (checkpoint,) = (lab.state / "claims").rglob("ledger/*/*/checkpoint")
    checkpoint.unlink()
    code, output = lab.run()
    assert code == 1
    assert "StoreDamaged" in output
    assert "fedloom store repair" in output
    assert "the ledger is broken" in said(lab, "store", "repair", "lab")
    lab.go(2)
    code, output = lab.run()
    assert code == 0, output
    assert lab.digest() == undisturbed
    assert "begun anew by a repair after round" in said(lab, "ledger", "verify", "lab")
