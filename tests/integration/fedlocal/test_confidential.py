"""`fedloom run` of a job with a confidential aggregator and of sites that demand it, with an agent and a verifier that stand in."""

import pytest

from tests.attestation import MEASUREMENT, FakeAgent, FakeVerifier
from tests.integration.fedaggregator.harness import certificates
from tests.integration.fedlocal.runs import Lab, document, job


@pytest.fixture
def agent():
    made = FakeAgent()
    yield made
    made.close()


@pytest.fixture
def verifier(tmp_path):
    certificates(tmp_path / "verifier")
    made = FakeVerifier(tmp_path / "verifier")
    yield made
    made.close()


def manifests(agent, verifier, measurement):
    told = verifier.told()
    asked = {"url": told.url, "publicKey": told.public_key, "caCertificates": told.ca}
    tee = {"type": "SEV-SNP", "platform": "Kata", "agent": agent.address, "verifier": asked}
    demand = {
        "types": ["SEV-SNP"],
        "verifier": asked,
        "measurements": [{"claim": "snp.measurement", "values": [measurement]}],
    }
    sites = [
        document("FLClient", name, provider="OnPremises", requires={"confidential": demand}, pool={}, data={})
        for name in ("north", "south")
    ]
    sealed = {"clientEncryption": {"enabled": True}}
    return job(rounds=1, aggregator={"confidential": tee}, storage=sealed, round={"maxFailures": 0}), *sites


def test_sites_that_demand_proof_train_for_an_aggregator_that_gives_it(tmp_path, agent, verifier):
    lab = Lab.of(tmp_path / "here", *manifests(agent, verifier, MEASUREMENT))
    code, output = lab.run()
    assert code == 0, output
    assert lab.result()["model"]["sha256"]
    assert len(agent.asked) >= 3, "for itself, and for each site"


def test_sites_that_trust_another_program_do_not(tmp_path, agent, verifier):
    lab = Lab.of(tmp_path / "here", *manifests(agent, verifier, "77" * 48))
    code, output = lab.run()
    assert code != 0, output
    assert "another program runs there" in output
