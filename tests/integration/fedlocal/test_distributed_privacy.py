"""`fedloom run` of a job whose sites add the noise under their masks: the budget holds, and no update is ever in the store as it is."""

import json

import numpy as np
from safetensors.numpy import load

from fedapi.wire.update import UpdateEnvelope
from tests.integration.fedlocal.runs import Lab, job
from tests.integration.fedlocal.test_secure_aggregation import commits, keyed, store_of

SITES = ("ada", "bob", "cleo", "dora")
NOISE = {"mode": "Distributed", "clipNorm": "0.1", "targetEpsilon": "6", "delta": "0.00001"}

DEMANDING = {
    "state": {"persistentVolumeClaim": {"claimName": "bob-state"}},
    "requires": {"privacy": {"secureAggregation": True, "maxEpsilon": "6.001", "delta": "0.00001"}},
}


def private(folder, **round_) -> Lab:
    asked = {"differentialPrivacy": NOISE, "secureAggregation": {"threshold": "100%", "colluding": 1}}
    parts = [part for name in SITES for part in keyed(name)]
    for part in parts:
        if part["kind"] == "FLClient" and part["metadata"]["name"] == "bob":
            part["spec"] |= DEMANDING
    return Lab.of(folder, job(rounds=2, privacy=asked, round=round_), *parts)


def test_the_budget_of_noise_that_sites_add(tmp_path):
    lab = private(tmp_path)
    code, output = lab.run("--trainers", "shared")
    assert code == 0, output
    found = commits(lab)[1:]
    assert [sorted(each.client for each in commit.participants) for commit in found] == [list(SITES)] * 2
    assert [commit.privacy.mode for commit in found] == ["Distributed"] * 2
    assert 5.999 < found[-1].privacy.epsilon <= 6.0 * (1 + 1e-12)
    told = json.loads((lab.state / "aggregator-status.json").read_text())["privacy"]
    assert (told["mode"], told["epsilon"]) == ("Distributed", "6.0000")
    first, last = (load((store_of(lab) / commit.model.key).read_bytes()) for commit in (commits(lab)[0], found[-1]))
    assert any(not np.array_equal(values, last[name]) for name, values in first.items())
    for path in store_of(lab).glob("updates/**/*.manifest.json"):
        body = UpdateEnvelope.stored(path.read_bytes()).body
        assert all(payload.masked for payload in body.payloads.values())
    (record,) = (lab.state / "claims").rglob("bob/state/releases.json")
    counted = json.loads(record.read_bytes())["masked"]
    assert [each["round"] for each in counted] == [1, 2], "a site that demands it has an account of its own"
    assert sum(each["rho"] for each in counted) <= sum(each.privacy.rho for each in found) * (1 + 1e-9)
