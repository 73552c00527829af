"""`fedloom run` of a job whose sites add the noise before they mask, or encrypt, their updates: the budget holds."""

import json

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.wire.plan import PlanRecord
from tests.integration.fedlocal.runs import Lab, job
from tests.integration.fedlocal.test_secure_aggregation import commits, keyed, records, store_of

SITES = ("ada", "bob", "cleo", "dora")
NOISE = {"mode": "Distributed", "clipNorm": "0.1", "targetEpsilon": "6", "delta": "0.00001"}

DEMANDING = {
    "state": {"persistentVolumeClaim": {"claimName": "bob-state"}},
    "requires": {"privacy": {"secureAggregation": True, "maxEpsilon": "6.001", "delta": "0.00001"}},
}


MASKS = {"secureAggregation": {"threshold": "100%", "colluding": 1}}
ENCRYPTION = {"homomorphicEncryption": {"threshold": "100%"}}


def private(folder, sums, demand) -> Lab:
    parts = [part for name in SITES for part in keyed(name)]
    for part in parts:
        if part["kind"] == "FLClient" and part["metadata"]["name"] == "bob":
            part["spec"] |= demand
    return Lab.of(folder, job(rounds=2, privacy={"differentialPrivacy": NOISE, **sums}), *parts)


@pytest.mark.parametrize(("sums", "demand"), [(MASKS, DEMANDING), (ENCRYPTION, {})], ids=["masked", "encrypted"])
def test_the_budget_of_noise_that_sites_add(tmp_path, sums, demand):
    lab = private(tmp_path, sums, demand)
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
    plans = records(lab, PlanRecord, "plan")
    assert [plan.secure.scheme for plan in plans] == ["CKKS" if sums is ENCRYPTION else None] * 2
    if not demand:
        return
    (record,) = (lab.state / "claims").rglob("bob/state/releases.json")
    counted = json.loads(record.read_bytes())["masked"]
    assert [each["round"] for each in counted] == [1, 2], "a site that demands it has an account of its own"
    assert sum(each["rho"] for each in counted) <= sum(each.privacy.rho for each in found) * (1 + 1e-9)
