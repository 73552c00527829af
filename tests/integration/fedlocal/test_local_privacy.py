"""`fedloom run` of a job whose sites add the noise: what is told of it, and a site that demands more than the job asks for."""

import json

import pytest

from tests.integration.fedlocal.runs import JOB, SITES, Lab, job, site

LOCAL = {"mode": "Local", "clipNorm": "5", "noiseMultiplier": "2.0", "delta": "0.00001"}
KEPT = {"persistentVolumeClaim": {"claimName": "north-state"}}


@pytest.fixture
def lab_of(tmp_path):
    labs = []

    def make(*documents, **spec):
        labs.append(Lab.of(tmp_path / "lab", job(privacy={"differentialPrivacy": LOCAL}, **spec), *documents))
        return labs[-1]

    yield make
    for lab in labs:
        lab.close()


def demanding(name, **demand):
    made = site(name)
    made["spec"] |= {"state": KEPT, "requires": {"privacy": demand}}
    return made


def test_updates_are_counted_at_the_site_and_at_the_hub(lab_of):
    lab = lab_of(demanding("north", minNoiseMultiplier="2", maxEpsilon="50", delta="0.00001"), SITES[1], rounds=2)
    code, output = lab.run()
    assert code == 0, output
    status = json.loads((lab.state / "aggregator-status.json").read_text())
    assert {name: status["privacy"][name] for name in ("mode", "unit", "epsilon")} == {
        "mode": "Local",
        "unit": "Site",
        "epsilon": "6.5730",
    }
    (record,) = (lab.state / "claims").rglob("north/state/releases.json")
    assert [each["round"] for each in json.loads(record.read_bytes())["releases"]] == [1, 2]
    told = lab.fedloom("model", "card", JOB).stdout
    for row in (
        "| privacy.mode | Local |",
        "| privacy.adjacency | Replacement |",
        "site\\_noise.noise\\_multiplier | 2.0 |",
    ):
        assert row in told, told


def test_a_site_that_allows_one_update_sends_one(lab_of):
    lab = lab_of(demanding("north", maxEpsilon="4.5", delta="0.00001"), SITES[1], rounds=3, round={"quorum": 1})
    code, output = lab.run()
    assert code == 0, output
    (record,) = (lab.state / "claims").rglob("north/state/releases.json")
    assert len(json.loads(record.read_bytes())["releases"]) == 1
    assert "PrivacyRefused: spec.requires.privacy.maxEpsilon 4.5" in (lab.state / "logs" / "north.log").read_text()
    assert lab.result()["rounds"] == 3


def test_a_site_that_demands_more_noise_takes_no_part(lab_of):
    lab = lab_of(demanding("north", minNoiseMultiplier="3"), SITES[1], rounds=1)
    code, output = lab.run()
    assert code == 0, output
    clients = json.loads((lab.state / "aggregator-status.json").read_text())["participants"]
    assert clients == "1/1"
    assert not list((lab.state / "claims").rglob("north/state/releases.json"))
