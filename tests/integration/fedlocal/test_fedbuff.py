"""Asynchronous rounds by `fedloom run`: a slow site holds nobody up, its update of an old model counts, one that is too old does not."""

import json

import pytest

from fedapi.wire.commit import CommitRecord
from tests.integration.fedlocal.runs import Lab, finish, job, site
from tests.waiting import until

FEDBUFF = {"name": "FedBuff", "fedBuff": {"bufferSize": 2, "learningRate": "0.5"}}
FAST, SLOW = ("north", "south"), "west"


@pytest.fixture
def begun(tmp_path):
    labs = []

    def begin(rounds, **round_):
        body = job(strategy=FEDBUFF, rounds=rounds, clients={"minAvailable": 3}, round=round_)
        lab = Lab.of(tmp_path, body, *map(site, FAST), site(SLOW, LAB_HOLD="1"))
        labs.append(lab)
        return lab, lab.start("--trainers", "own")

    yield begin
    for lab in labs:
        lab.close()


def commits(lab):
    found = sorted(lab.state.rglob("rounds/*/e*-a*/commit.json"))
    return [CommitRecord.model_validate_json(path.read_bytes()) for path in found]


def test_a_slow_site_s_update_is_in_a_later_round(begun):
    lab, run = begun(60, maxStaleness=50)
    lab.pid_in_round(SLOW, 1)
    until(lambda: len(commits(lab)) >= 4, 120)
    lab.go(1)
    code, output = finish(run)
    assert code == 0, output
    parts = [(commit.round, p) for commit in commits(lab) for p in commit.participants if p.client == SLOW]
    into, first = parts[0]
    assert (first.order.round, first.order.attempt) == (1, 1)
    assert into > 3
    assert len(parts) > 1  # and it goes on with the newest model
    assert parts[1][1].order is None or parts[1][1].order.round > into
    status = json.loads(next(lab.state.glob("job.json")).read_text())["status"]
    assert status["participants"].endswith("/2")


def test_an_update_that_is_too_old_is_dropped_and_the_site_goes_on(begun):
    lab, run = begun(40, maxStaleness=1)
    lab.pid_in_round(SLOW, 1)
    code, output = finish(run)
    assert code == 0, output
    parts = [(commit.round, p) for commit in commits(lab) for p in commit.participants if p.client == SLOW]
    assert parts
    assert all(p.order is None or p.order.round == round_ - 1 for round_, p in parts)
    assert min(p.order.round if p.order else round_ for round_, p in parts) > 1
