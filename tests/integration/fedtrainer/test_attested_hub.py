"""A real trainer whose site demands proof, before a real aggregator: it works for an attested one, and for no other."""

import ssl

import httpx
import pytest

from fedapi import names
from fedapi.outcome import Exit
from tests.attestation import FakeAgent, FakeVerifier, Server
from tests.integration.fedaggregator.harness import certificates
from tests.integration.fedtrainer.programs import Site, models

KEM = "X25519"


class Relay(Server):
    """Somebody between site and hub, with a key of his own that the site's CA has signed: he passes everything on."""

    def __init__(self, folder, hub) -> None:
        certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / names.FILE_TLS_CERT, folder / names.FILE_TLS_KEY)
        self.hub = httpx.Client(base_url=hub.url, verify=ssl.create_default_context(cafile=str(hub.ca)))
        super().__init__(context)

    def answer(self, path, body, headers):
        said = self.hub.post(path, content=body, headers={"authorization": headers["authorization"]})
        return said.status_code, said.content

    def close(self):
        super().close()
        self.hub.close()


@pytest.fixture
def agent():
    made = FakeAgent()
    yield made
    made.close()


@pytest.fixture
def hub(made, agent):
    return made(encryption=KEM, env={names.ENV_TEE: "SEV-SNP", names.ENV_TEE_AGENT: agent.address})


@pytest.fixture
def verifier(tmp_path):
    certificates(tmp_path / "verifier")
    made = FakeVerifier(tmp_path / "verifier")
    yield made
    made.close()


def demanding(tmp_path, hub, demand, **env) -> Site:
    env = {names.ENV_REQUIRES_CONFIDENTIAL: demand.model_dump_json(), "FEDLOOM_PATIENCE_S": "0.5"} | env
    site = Site(tmp_path / "site", hub, env=env)
    hub.give(site.initial_model())
    return site


def refused(site, hub, *words: str) -> None:
    """The site ends without an update, says why in its own log and to the hub, and no model is made of it."""
    ended = site.call("train")
    assert ended.code == Exit.NOT_ATTESTED, ended.log
    for word in words:
        assert word in ended.reason, ended.reason
    assert not hub.updates
    assert len(models(hub)) == 1


def test_an_attested_aggregator_is_worked_for_and_asked_once(tmp_path, hub, agent, verifier):
    site = demanding(tmp_path, hub, verifier.demand())
    ended = site.call("train")
    assert ended.code == 0, ended.log
    assert "the aggregator is attested: SEV-SNP" in ended.log
    assert len(models(hub)) == 2
    assert len(verifier.asked) == 1
    assert len(agent.asked) == 2, "for itself as it started, and for the site"


def test_another_measurement_than_the_site_has_pinned(tmp_path, hub, verifier):
    refused(demanding(tmp_path, hub, verifier.demand("77" * 48)), hub, "snp.measurement is '5a5a", "another program")


def test_another_kind_of_environment(tmp_path, hub, verifier):
    refused(demanding(tmp_path, hub, verifier.demand(tees=("TDX",))), hub, "tee is SEV-SNP, this site takes TDX")


def test_old_evidence_is_of_no_use_for_a_new_nonce(tmp_path, hub, agent, verifier):
    """Even where the verifier is careless: the report data that it signed are compared by the site."""
    agent.stale, verifier.careless = True, True
    refused(demanding(tmp_path, hub, verifier.demand()), hub, "older than the nonce")


def test_evidence_for_another_key_shows_who_passes_it_on(tmp_path, hub, verifier):
    relay = Relay(tmp_path / "relay", hub)
    try:
        site = demanding(
            tmp_path, hub, verifier.demand(), **{names.ENV_AGGREGATOR_URL: f"https://localhost:{relay.port}"}
        )
        environment = site.environment("")  # writes the hub's CA; the site's own trusts him
        (site.folder / "credentials" / names.FILE_CA).write_bytes((tmp_path / "relay" / names.FILE_CA).read_bytes())
        site.hub = None
        site.env |= {names.ENV_JOB_UID: environment[names.ENV_JOB_UID]}
        site.token = hub.token(site.client)
        refused(site, hub, "contraindicated")
        verifier.careless = True
        refused(site, hub, "for another key")
    finally:
        relay.close()


def test_a_verifier_that_is_down_is_waited_for_and_nobody_works_meanwhile(tmp_path, hub, verifier):
    verifier.down = True
    site = demanding(tmp_path, hub, verifier.demand())
    refused(site, hub, "asking the verifier at https://localhost:", "HTTP 503", "until then the site takes no part")
    assert len(verifier.asked) > 1


def test_a_verifier_that_is_back_is_enough(tmp_path, hub, verifier):
    answers = [(503, b"")]
    whole = verifier.answer
    verifier.answer = lambda *said: answers.pop() if answers else whole(*said)
    assert demanding(tmp_path, hub, verifier.demand(), FEDLOOM_PATIENCE_S="60").call("train").code == 0


@pytest.mark.parametrize("garbage", [b"", b"OK", b"{}", b"a.b.c", b"\x00" * 99], ids=range(5))
def test_a_verifier_that_answers_garbage(tmp_path, hub, verifier, garbage):
    verifier.garbage = garbage
    refused(demanding(tmp_path, hub, verifier.demand()), hub, "not signed by the verifier's publicKey")


def test_a_verifier_that_does_not_affirm(tmp_path, hub, verifier):
    verifier.status = "warning"
    refused(demanding(tmp_path, hub, verifier.demand()), hub, "does not affirm")


def test_an_aggregator_without_a_guest(tmp_path, made, verifier):
    plain = made(encryption=KEM)
    refused(demanding(tmp_path, plain, verifier.demand()), plain, "gives no evidence", "set aggregator.confidential")


def test_an_order_for_an_update_that_anybody_could_read(tmp_path, made, agent, verifier):
    open_ = made(env={names.ENV_TEE: "SEV-SNP", names.ENV_TEE_AGENT: agent.address})
    refused(demanding(tmp_path, open_, verifier.demand()), open_, "not encrypted", "storage.clientEncryption.enabled")


def test_a_site_that_demands_nothing_asks_nobody(tmp_path, hub, agent):
    site = Site(tmp_path / "site", hub)
    hub.give(site.initial_model())
    assert site.call("train").code == 0
    assert len(agent.asked) == 1
