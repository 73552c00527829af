"""The real aggregator with a guest's agent that stands in for hardware: evidence before it serves, for each site, and after a kill."""

import hashlib
import json
import signal
import time

import pytest

from fedaggregator.requests.attestation import tls_key
from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire import appraisal
from fedapi.wire.attestation import Attestation, AttestationRequest, Statement
from fedapi.wire.site import Refusal
from fedapi.wire.tokens import ledger_seed
from fedcore.ledger.note import Signer
from fedstore import ledgeraudit
from fedstore.opening import open_store
from tests.attestation import FakeAgent, FakeVerifier
from tests.integration.fedaggregator.harness import JOB_KEY, UID, Aggregator, JobFolder, Site, config, run_sites
from tests.integration.fedaggregator.test_damaged_store import finish
from tests.waiting import until

HYBRID = "MLKEM768X25519"
NONCE = "07" * 32


@pytest.fixture
def agent():
    made = FakeAgent()
    yield made
    made.close()


@pytest.fixture
def job(tmp_path, agent):
    """A confidential job of two sites."""
    env = {names.ENV_TEE: "SEV-SNP", names.ENV_TEE_AGENT: agent.address}
    return JobFolder(tmp_path / "job", config(rounds=2, encryption=HYBRID), extra_env=env)


@pytest.fixture
def verifier(job):
    made = FakeVerifier(job.root / "credentials")
    yield made
    made.close()


def asked(site: Site, nonce: str = NONCE):
    return site.post("attest", AttestationRequest(nonce=nonce))


def statement(job: JobFolder, attestation: Attestation, nonce: str = NONCE) -> Statement:
    """As a site makes it, of what it knows itself."""
    key = tls_key(job.root / "credentials" / names.FILE_TLS_CERT)
    return Statement(job_uid=UID, nonce=nonce, tls_key=key, update_keys=attestation.update_keys)


def test_a_site_gets_evidence_for_its_nonce_and_for_the_keys_that_it_meets(job, verifier):
    with Aggregator(job).ready():
        site = Site(job, "a")
        answer = asked(site)
        assert answer.status_code == 200, answer.text
        attestation = Attestation.told(answer.content)
        said = statement(job, attestation)
        verdict = verifier.answer("/attestation", appraisal.question(attestation, said, verifier.told()))[1]
        claims = appraisal.appraised(verdict, said, verifier.told(), time.time())
        appraisal.check_tee(attestation.tee, claims, ("SEV-SNP",))
        appraisal.check_measured(claims, verifier.demand().measurements)
        order = site.next().train or run_first(job, site)
        assert hashlib.sha256(order.encryption.public_key).hexdigest() == attestation.update_keys[HYBRID]
        other = json.loads(Attestation.told(asked(site, "08" * 32).content).evidence)
        assert other["report_data"] != json.loads(attestation.evidence)["report_data"], "made anew for each nonce"
        run_sites(job)
        until(lambda: "outcome" in job.status())
        told = job.status()["attestation"]
    assert told["tee"] == "SEV-SNP"
    assert told["updateKeys"] == attestation.update_keys
    assert "affirmedBy" not in told
    own, *shown = [each.facts for each in ledger_entries(job) if each.kind == "attested"]
    assert (own["evidence_sha256"], own["update_keys"]) == (told["evidenceSha256"], told["updateKeys"])
    first = {"client": "a", "nonce": NONCE, "evidence_sha256": hashlib.sha256(attestation.evidence).hexdigest()}
    assert first.items() <= shown[0].items()


def ledger_entries(job: JobFolder):
    signer = Signer(job.layout.ledger_origin, ledger_seed(JOB_KEY))
    return ledgeraudit.verified(open_store(str(job.root / "store")), job.layout, signer.verifier).entries


def run_first(job: JobFolder, site: Site):
    Site(job, "b").next(0.0)
    return site.next().train


def test_a_site_that_is_not_of_the_job_gets_none(job):
    with Aggregator(job).ready():
        assert Site(job, "stranger").post("attest", AttestationRequest(nonce=NONCE)).status_code == 403
        assert Site(job, "a").http.post("/v1/sites/a/attest", content=b'{"nonce": "07"}').status_code == 422


def test_a_job_that_is_not_confidential_says_so(tmp_path):
    job = JobFolder(tmp_path, config())
    with Aggregator(job).ready():
        answer = asked(Site(job, "a"))
        assert answer.status_code == 410
        assert "set spec.aggregator.confidential" in Refusal.told(answer.content).message
        assert "attestation" not in job.status()


def test_rounds_go_on_while_the_agent_is_down_and_a_site_is_asked_to_come_again(job, agent):
    with Aggregator(job).ready():
        agent.down = True
        (site := Site(job, "a")).next(0.0)
        answer = asked(site)
        assert (answer.status_code, Refusal.told(answer.content).code) == (503, "Busy")
        run_sites(job)
    assert job.head().round == 2


def test_it_is_affirmed_before_it_serves_where_the_job_names_a_verifier(job, verifier):
    job.extra_env[names.ENV_TEE_VERIFIER] = verifier.told().model_dump_json()
    with Aggregator(job).ready():
        run_sites(job)
        until(lambda: "outcome" in job.status())
    assert job.status()["attestation"]["affirmedBy"] == verifier.told().url
    assert len(verifier.asked) == 1


def _down(agent, verifier):
    agent.down = True


def _verifier_down(agent, verifier):
    verifier.down = True


def _garbage(agent, verifier):
    verifier.garbage = b"<html>welcome</html>"


def _not_affirmed(agent, verifier):
    verifier.status = "contraindicated"


def _stale(agent, verifier):
    agent.answer("/?runtime_data=" + "0" * 64, b"")
    agent.stale, verifier.careless = True, True


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (_down, "gives no evidence: HTTP 500 no device"),
        (_verifier_down, "does not appraise: HTTP 503 starting: start it, or take"),
        (_garbage, "not signed by the verifier's publicKey"),
        (_not_affirmed, "does not affirm 'cpu0'"),
        (_stale, "older than the nonce"),
    ],
)
def test_without_good_evidence_it_does_not_serve(job, agent, verifier, fault, words):
    job.extra_env[names.ENV_TEE_VERIFIER] = verifier.told().model_dump_json()
    fault(agent, verifier)
    with Aggregator(job) as hub:
        assert hub.wait() == Exit.NOT_ATTESTED, hub.log()
    told = (job.root / "termination.log").read_text()
    assert told.startswith("aggregator.confidential SEV-SNP: ")
    assert words in told


def test_no_agent_at_all(job):
    job.extra_env[names.ENV_TEE_AGENT] = "unix:/nowhere/agent.sock"
    with Aggregator(job) as hub:
        assert hub.wait() == Exit.NOT_ATTESTED, hub.log()
    assert "unix:/nowhere/agent.sock gives no evidence: FileNotFoundError" in (job.root / "termination.log").read_text()


def test_a_killed_aggregator_has_new_keys_and_asks_again_for_what_only_the_old_one_could_read(job, tmp_path):
    """The price of keys that nobody keeps: updates of the round under way are trained again; what is committed stays."""
    plain = JobFolder(tmp_path / "plain", config(rounds=2))
    with Aggregator(plain).ready():
        run_sites(plain)
    sites = [Site(job, "a", samples=10), Site(job, "b", samples=15)]
    with Aggregator(job).ready() as hub:
        for site in sites:
            site.next(0.0)
        first = sites[0].next().train
        assert sites[0].take_part(first).status_code == 200
        hub.process.send_signal(signal.SIGKILL)
        hub.wait()
    with Aggregator(job).ready():
        finish(job, sites)
        assert (
            job.status()["attestation"]["updateKeys"][HYBRID] != hashlib.sha256(first.encryption.public_key).hexdigest()
        )
    assert sites[0].trained.count((1, 1)) == 2, sites[0].trained
    assert job.status()["round"]["committed"] == 2
    assert [commit.model.sha256 for commit in job.commits()] == [commit.model.sha256 for commit in plain.commits()]
