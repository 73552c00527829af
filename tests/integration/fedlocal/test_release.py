"""A local run of a job whose model has to be approved: the card, the decisions, and what pull says, by the real commands."""

import json
import stat

from tests import commands
from tests.integration.fedlocal.runs import SITES, Lab, job


def fedloom(lab, *words):
    done = lab.fedloom(*words, cwd=lab.folder, check=False)
    return done.returncode, done.stdout + done.stderr


def approver(folder, name):
    """What a new approver gives the author of the job."""
    done = commands.fedloom("model", "approver", name, "--key", f"{name}.pem", cwd=folder)
    assert stat.S_IMODE((folder / f"{name}.pem").stat().st_mode) == 0o600
    key = done.stdout.split("publicKey: ")[1].strip()
    return {"name": name, "publicKey": key}


def test_the_model_is_handed_out_when_enough_have_approved_it(tmp_path):
    release = {"approvers": [approver(tmp_path, "ann"), approver(tmp_path, "bob")], "required": 2}
    lab = Lab.of(tmp_path, job(rounds=2, release=release), *SITES)
    code, output = lab.run()
    assert code == 0, output
    pull = ("model", "pull", "lab", "-o", "m.safetensors")
    code, output = fedloom(lab, *pull)
    assert (code, "is not released (spec.release): 0 of 2 approvals" in output) == (1, True), output
    code, card = fedloom(lab, "model", "card", "lab", "--output", "json")
    assert code == 0, card
    told = json.loads(card)
    assert (told["model_sha256"], told["rounds"]) == (lab.digest(), 2)
    assert [(each["name"], each["samples"], each["rounds"]) for each in told["sites"]] == [
        ("north", 32, 2),
        ("south", 32, 2),
    ]
    (stored,) = lab.state.glob("claims/*/control/*/*/model-card.json")
    assert stored.read_text() == card, "the aggregator keeps the same"
    page = fedloom(lab, "model", "card", "lab")[1]
    assert (stored.with_suffix(".md").read_text(), page.startswith("# Model card: lab")) == (page, True)
    wrong = fedloom(lab, "model", "approve", "lab", "--approver", "bob", "--key", "ann.pem")
    assert (wrong[0], "--key is not that of approver" in wrong[1]) == (2, True)
    assert fedloom(lab, "model", "approve", "lab", "--approver", "ann", "--key", "ann.pem")[0] == 0
    code, output = fedloom(lab, "model", "reject", "lab", "--approver", "bob", "--key", "bob.pem")
    assert (code, "rejected by bob" in output) == (0, True)
    assert "rejected by bob" in fedloom(lab, *pull)[1]
    assert fedloom(lab, "model", "approve", "lab", "--approver", "bob", "--key", "bob.pem")[0] == 0
    code, output = fedloom(lab, *pull)
    assert code == 0, output
    (held,) = lab.state.rglob("approvals.json")
    assert [(each["approver"], each["number"]) for each in json.loads(held.read_text())] == [("ann", 1), ("bob", 2)]
    code, output = fedloom(lab, "ledger", "verify", "lab")
    assert code == 0, output
    told = [line.partition(": ")[2].split(" model")[0] for line in output.splitlines() if line.startswith("entry ")]
    assert told[:3] == ["ann has approved", "bob has rejected", "bob has approved"], output
    assert told[3].startswith("model") or "was released, as ann, bob approved" in output
    assert "compared with the job's status" in output
    again = fedloom(lab, "model", "approve", "lab", "--approver", "bob", "--key", "bob.pem")
    assert again[0] == 0, again[1]
    assert "number 2: decided already, nothing was changed" in again[1]
    assert fedloom(lab, "ledger", "verify", "lab")[1] == output, "what is told already is not told twice"
    code, output = fedloom(lab, *pull, "--round", "1")
    assert (code, "it is about model" in output) == (1, True), "another model of the job was approved by nobody"
