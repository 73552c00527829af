"""`fedloom run` of a job with secure aggregation: whoever is killed, and whenever, the model is that of the sites' own quantized sum, to the bit."""

import itertools
import os
import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.wire.commit import CommitRecord
from fedapi.wire.store import CloseRecord, FailureRecord
from tests.integration.fedlocal.runs import TASK, Lab, finish, hubs, job, site
from tests.integration.fedlocal.test_site_keys import made_key
from tests.waiting import until

SITES = ("ada", "bob", "cleo", "dora")
STEPS = ("Advertise", "Share", "Mask", "Consent", "Open")
LIMIT = 4.0


def keyed(name: str, **env) -> list[dict]:
    secret, spec = made_key(name)
    client = site(name, **env)
    client["spec"] |= spec | {"state": {"persistentVolumeClaim": {"claimName": f"{name}-state"}}}
    return [client, secret]


def secured(
    folder, envs=None, *, kind="secureAggregation", rounds=2, threshold=3, timeout="300s", round_=None, **secure
) -> Lab:
    """A lab whose sites sum under masks, or what else `kind` says. `envs`: of sites, by name."""
    asked = {"threshold": threshold, "valueRange": str(LIMIT), "exchangeTimeout": timeout, **secure}
    spec = {"rounds": rounds, "privacy": {kind: asked}, "round": round_ or {}}
    made = job(task={"entrypoint": "masked:task", "image": "none"}, **spec)
    parts = [part for name in SITES for part in keyed(name, **(envs or {}).get(name, {}))]
    lab = Lab.of(folder, made, *parts)
    shutil.copy(TASK.with_name("masked.py"), folder / "masked.py")
    return lab


def store_of(lab: Lab) -> Path:
    (store,) = (lab.state / "claims").glob("lab-store-*")
    return store


def records(lab: Lab, kind: type, name: str) -> list:
    found = [kind.stored(path.read_bytes()) for path in store_of(lab).glob(f"control/**/{name}.json")]
    return sorted(found, key=lambda each: (each.round, each.attempt))


def commits(lab: Lab) -> list[CommitRecord]:
    return records(lab, CommitRecord, "commit")


def model(lab: Lab, commit: CommitRecord) -> dict[str, np.ndarray]:
    return load((store_of(lab) / commit.model.key).read_bytes())


def assert_models_are_plain_sums(lab: Lab, sites: int = len(SITES)) -> None:
    """Every model is the one before and the mean of what its participants trained, each in whole steps, added as integers."""
    found = commits(lab)
    for before, commit in itertools.pairwise(found):
        weights = {each.client: each.samples for each in commit.participants}
        levels = ((1 << 31) - 1) // sites
        base, now = model(lab, before), model(lab, commit)
        whole = max(weights.values())
        for name, values in base.items():
            total = np.zeros(values.shape, np.int64)
            for client, samples in weights.items():
                update = np.load(lab.folder / "marks" / f"{client}-{commit.round}.npz")[name].astype(np.float64)
                total += np.rint(update * (samples / whole) * (levels / LIMIT)).astype(np.int64)
            mean = total * (LIMIT / levels) / sum(samples / whole for samples in sorted(weights.values()))
            assert (values + mean.astype(np.float32)).tobytes() == now[name].tobytes(), (commit.round, name)


def participants(lab: Lab) -> list[list[str]]:
    return [sorted(each.client for each in commit.participants) for commit in commits(lab)[1:]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> str:
    lab = secured(tmp_path_factory.mktemp("undisturbed"))
    code, output = lab.run()
    assert code == 0, output
    return lab.digest()


@pytest.mark.parametrize("trainers", ["own", "shared"])
def test_a_job_whose_updates_nobody_sees(tmp_path, trainers, undisturbed):
    lab = secured(tmp_path)
    code, output = lab.run("--trainers", trainers)
    assert code == 0, output
    assert participants(lab) == [list(SITES)] * 2
    assert all(each.signed for commit in commits(lab)[1:] for each in commit.participants)
    assert_models_are_plain_sums(lab)
    assert lab.digest() == undisturbed, "keys and masks leave no trace in a model"
    left = [path for path in lab.state.rglob("*") if path.name in ("secure.json", "update.masked")]
    assert left == [], "seeds go with the job"


def test_one_site_is_lost_in_every_round_after_it_shared(tmp_path):
    """Its process is killed; the one after it has the state, and comes when the sum was made without it."""
    lost = {name: {"MASKED_STOPS": f"{at}:Mask", "MASKED_LATE": "yes"} for at, name in enumerate(SITES[:2], 1)}
    lab = secured(tmp_path, lost, timeout="5s", round_={"quorum": 3})
    code, output = lab.run()
    assert code == 0, output
    assert participants(lab) == [["bob", "cleo", "dora"], ["ada", "cleo", "dora"]]
    assert [each.reason for each in records(lab, CloseRecord, "close")] == ["ExchangeTimeout"] * 2
    assert_models_are_plain_sums(lab)


def test_sites_that_are_killed_at_every_step_go_on(tmp_path, undisturbed):
    """Each at another step, and in the second round at another one than in the first."""
    stops = {name: (f"1:{STEPS[place]}", f"2:{STEPS[place + 1]}") for place, name in enumerate(SITES)}
    lab = secured(tmp_path, {name: {"MASKED_STOPS": ",".join(at)} for name, at in stops.items()})
    code, output = lab.run()
    assert code == 0, output
    killed = {path.name for path in (lab.folder / "marks").glob("at-*")}
    assert killed == {f"at-{name}-{each}" for name, at in stops.items() for each in at}
    assert participants(lab) == [list(SITES)] * 2
    assert lab.digest() == undisturbed


def test_a_hub_that_is_killed_at_every_step_goes_on(tmp_path, undisturbed):
    lab = secured(tmp_path, {"cleo": {"MASKED_HOLD": ",".join(f"2:{step}" for step in STEPS)}})
    run, killed = lab.start(), set()
    try:
        for step in STEPS:
            until((lab.folder / "marks" / f"at-cleo-2:{step}").exists)
            hub = until(lambda: hubs(run.pid) - killed).pop()
            os.kill(hub, signal.SIGKILL)
            killed.add(hub)
            (lab.folder / "marks" / f"go-2:{step}").touch()
        code, output = finish(run)
    finally:
        lab.close()
    assert code == 0, output
    assert participants(lab) == [list(SITES)] * 2
    assert records(lab, FailureRecord, "failure") == []
    assert lab.digest() == undisturbed


def test_below_the_threshold_nothing_is_opened_and_the_round_is_made_with_new_keys(tmp_path):
    lost = {name: {"MASKED_STOPS": "1:Consent", "MASKED_LATE": "yes"} for name in SITES[:2]}
    lab = secured(tmp_path, lost, rounds=1, timeout="5s")
    code, output = lab.run()
    assert code == 0, output
    (failure,) = records(lab, FailureRecord, "failure")
    assert failure.reason == "SecureAggregationFailed"
    (commit,) = commits(lab)[1:]
    assert commit.attempt == 2
    assert_models_are_plain_sums(lab)
    told = lab.fedloom("ledger", "verify", "lab").stdout
    assert "sums of masked or encrypted updates that sites were asked to open: 2, of 1 models" in told
    assert "round 1 attempt 1 (failed), of ada, bob, cleo, dora; round 1 attempt 2 (committed), of " in told


@pytest.mark.parametrize(("overflow", "code"), [("Clip", 0), ("Fail", 1)])
def test_values_beyond_the_range_are_never_silent(tmp_path, overflow, code):
    lab = secured(
        tmp_path, {"ada": {"LAB_TIMES": "100"}}, rounds=1, overflow=overflow, round_={"maxFailures": 0, "quorum": 4}
    )
    found, output = lab.run()
    assert found == code, output
    logs = "\n".join(path.read_text() for path in lab.state.rglob("*.log"))
    assert ("were clipped" if overflow == "Clip" else "values are larger than 4") in logs
    if overflow == "Clip":
        assert re.search(r"site ada: warning: \d+ values of its update of round 1 were larger than", output), output
