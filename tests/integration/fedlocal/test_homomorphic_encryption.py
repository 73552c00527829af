"""`fedloom run` of a job with encrypted sums: the model is that of masks, to the bit, whoever is killed, and the store has no update that the hub could read."""

import os
import signal

import numpy as np
import pytest

from fedapi.wire.store import FailureRecord
from fedapi.wire.update import UpdateEnvelope
from tests.integration.fedlocal.runs import Lab, finish, hubs
from tests.integration.fedlocal.test_secure_aggregation import (
    LIMIT,
    SITES,
    assert_models_are_plain_sums,
    participants,
    records,
    secured,
    store_of,
)
from tests.waiting import until

STEPS = ("Mask", "Consent", "Open")  # that each site goes through: one alone is asked for the key


def encrypted(folder, envs=None, **asked) -> Lab:
    return secured(folder, envs, kind="homomorphicEncryption", **asked)


def assert_no_update_can_be_read(lab: Lab) -> None:
    """What each site has handed in is ciphertexts, and no stored object has its values: as they are, or as the whole numbers of them.

    A single value of four bytes is in many ciphertexts by chance.
    """
    found = [UpdateEnvelope.stored(path.read_bytes()).body for path in store_of(lab).glob("updates/**/*.manifest.json")]
    assert {each.client for each in found} == set(SITES)
    assert all(payload.masked and payload.tag for each in found for payload in each.payloads.values())
    stored = [path.read_bytes() for path in store_of(lab).rglob("*") if path.is_file()]
    levels, whole = ((1 << 31) - 1) // len(SITES), max(each.samples for each in found)
    for each in found:
        trained = np.load(lab.folder / "marks" / f"{each.client}-{each.round}.npz")
        long = [values for values in trained.values() if values.nbytes >= 16]
        assert long
        for values in long:
            numbers = np.rint(values.astype(np.float64) * (each.samples / whole) * (levels / LIMIT)).astype("<i4")
            assert not any(values.tobytes() in data or numbers.tobytes() in data for data in stored)


@pytest.fixture(scope="module")
def masked(tmp_path_factory) -> str:
    lab = secured(tmp_path_factory.mktemp("masked"), colluding=0)
    code, output = lab.run()
    assert code == 0, output
    return lab.digest()


def test_a_job_whose_updates_the_hub_cannot_read(tmp_path, masked):
    lab = encrypted(tmp_path)
    code, output = lab.run("--trainers", "shared")
    assert code == 0, output
    assert participants(lab) == [list(SITES)] * 2
    assert_models_are_plain_sums(lab)
    assert lab.digest() == masked
    told = lab.fedloom("ledger", "verify", "lab").stdout
    assert "that sites were asked to open: 2, of 2 models" in told
    own = ("secure.json", "update.encrypted", "sum.encrypted", "sum.numbers")
    left = [path for path in lab.state.rglob("*") if path.name in own]
    assert left == [], "keys go with the job"


def test_whoever_is_killed_on_the_way_the_model_is_the_same(tmp_path, masked):
    """In the first round who makes the key, and each site but one at another step; in the second the hub in each, also while the sum is opened, when the store has all updates."""
    stops = {
        name: {"MASKED_STOPS": f"1:Share,1:{step}"} for name, step in zip(SITES, (*STEPS, "Advertise"), strict=True)
    }
    held = {SITES[-1]: {"MASKED_HOLD": ",".join(f"2:{step}" for step in STEPS)}}
    lab = encrypted(tmp_path, {name: stops[name] | held.get(name, {}) for name in SITES})
    run, killed = lab.start(), set()
    try:
        for step in STEPS:
            until((lab.folder / "marks" / f"at-{SITES[-1]}-2:{step}").exists)
            if step == "Open":
                assert_no_update_can_be_read(lab)
            hub = until(lambda: hubs(run.pid) - killed).pop()
            os.kill(hub, signal.SIGKILL)
            killed.add(hub)
            (lab.folder / "marks" / f"go-2:{step}").touch()
        code, output = finish(run)
    finally:
        lab.close()
    assert code == 0, output
    deaths = sorted(path.name.partition("-1:")[2] for path in (lab.folder / "marks").glob("at-*-1:*"))
    assert deaths == sorted((*STEPS, "Advertise", "Share"))
    assert participants(lab) == [list(SITES)] * 2
    assert records(lab, FailureRecord, "failure") == []
    assert lab.digest() == masked


def test_a_site_that_is_lost_after_the_key_was_made_is_left_out(tmp_path):
    lab = encrypted(
        tmp_path,
        {"ada": {"MASKED_STOPS": "1:Mask", "MASKED_LATE": "yes"}},
        rounds=1,
        timeout="5s",
        round_={"quorum": 3},
    )
    code, output = lab.run()
    assert code == 0, output
    assert participants(lab) == [["bob", "cleo", "dora"]]
    assert_models_are_plain_sums(lab)
