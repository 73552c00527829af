"""Sites with keys against the real aggregator: whoever has their token, or the key that all tokens derive from, cannot speak for them."""

import hashlib
import json

import httpx
import pytest
from safetensors.numpy import load, save

from fedapi.wire import statement
from fedapi.wire.message import ObjectRef
from fedapi.wire.signing import signed, verifies
from fedapi.wire.site import EvaluationReport, FailureReport, NextRequest, Refusal
from fedapi.wire.update import HandedUpdate, Payload, UpdateEnvelope
from tests.integration.fedaggregator.harness import (
    PATIENCE_S,
    SPEAKS,
    UID,
    Aggregator,
    JobFolder,
    Site,
    config,
    monitored,
    scripted_update,
    until,
)
from tests.integration.fedaggregator.signing import SigningSite, key, public

OURS, OLD, THIEFS = key(1), key(2), key(3)
IDENTITIES = {"a": (public(OURS), public(OLD, revoked=True))}


def handed(site: Site, order, **values) -> HandedUpdate:
    """What an honest site would send, unsigned."""
    data = save(scripted_update(load(site.download(order.model)), site.client, order))
    grant = order.inline.object(hashlib.sha256(data).hexdigest(), len(data))
    return site.manifest(order, grant, content={"update": data}, **values)


def sent(site: Site, message: HandedUpdate | EvaluationReport | FailureReport, path: str = "updates") -> str:
    """The code of the refusal; empty: it was taken. As a thief of the site's token sends it."""
    response = Site.post(site, path, message)
    return "" if response.status_code == 200 else Refusal.told(response.content).code


def resigned(update: HandedUpdate, **changes) -> HandedUpdate:
    """Another body under the signature of this one."""
    return update.model_copy(update={"body": update.body.model_copy(update=changes)})


def refusals(job: JobFolder, code: str) -> float:
    lines = monitored(job, "/metrics").text.splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if line.startswith(f'fedloom_aggregator_refusals_total{{code="{code}"}}')
    )


def finish(job: JobFolder, *sites: Site) -> None:
    for thread, site in [(site.start(), site) for site in sites]:
        thread.join(PATIENCE_S)
        assert site.error is None, site.error
        assert not thread.is_alive()
    until(lambda: "outcome" in job.status())


def proven(job: JobFolder) -> list[tuple[int, str]]:
    """Rounds and sites whose signatures in the commits hold, by nothing but the commits and the public key."""
    found = []
    for commit in job.commits():
        for each in commit.participants:
            if each.signed is None:
                continue
            assert each.signed.key_id == OURS.id
            assert verifies(OURS.raw, each.signed.signature, statement.of_participant(commit, each, each.signed))
            found.append((commit.round, each.client))
    return found


def test_updates_are_committed_with_their_signatures_which_hold_without_the_hub(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=2, identities=IDENTITIES))
    with Aggregator(job).ready():
        finish(job, SigningSite(job, "a", OURS, samples=10), Site(job, "b", samples=15))
    assert proven(job) == [(1, "a"), (2, "a")]
    assert [len(commit.participants) for commit in job.commits()] == [0, 2, 2]
    assert job.status()["outcome"]["result"] == "Succeeded"


FORGERIES = {
    "unsigned": (lambda update: update, "Unsigned"),
    "without-key-id": (lambda update: signed(OURS, update).model_copy(update={"key_id": None}), "Unsigned"),
    "by-the-thief-s-key": (lambda update: signed(THIEFS, update), "UnknownKey"),
    "by-a-revoked-key": (lambda update: signed(OLD, update), "RevokedKey"),
    "by-the-thief-as-ours": (
        lambda update: signed(THIEFS, update).model_copy(update={"key_id": OURS.id}),
        "WrongSignature",
    ),
    "other-samples": (lambda update: resigned(signed(OURS, update), samples=900), "WrongSignature"),
    "other-metrics": (lambda update: resigned(signed(OURS, update), metrics={"loss": 0.0}), "WrongSignature"),
    "other-nonce": (lambda update: resigned(signed(OURS, update), nonce="x" * 16), "WrongSignature"),
    "of-another-round": (lambda update: resigned(signed(OURS, resigned(update, round=7)), round=1), "WrongSignature"),
    "of-another-attempt": (
        lambda update: resigned(signed(OURS, resigned(update, attempt=2)), attempt=1),
        "WrongSignature",
    ),
    "of-another-job": (
        lambda update: resigned(signed(OURS, resigned(update, job_uid="u")), job_uid=UID),
        "WrongSignature",
    ),
    "of-another-site": (
        lambda update: resigned(signed(OURS, resigned(update, client="b")), client="a"),
        "WrongSignature",
    ),
    "wrong-round-signed": (lambda update: signed(OURS, resigned(update, round=7)), "StaleRound"),
    "wrong-attempt-signed": (lambda update: signed(OURS, resigned(update, attempt=2)), "StaleAttempt"),
    "wrong-base-signed": (lambda update: signed(OURS, resigned(update, base_sha256="f" * 64)), "WrongBase"),
    "wrong-job-signed": (lambda update: signed(OURS, resigned(update, job_uid="another")), "NotInJob"),
    "wrong-digest-signed": (lambda update: signed(OURS, with_digest(update, "e" * 64)), "WrongDigest"),
}


def with_digest(update: HandedUpdate, sha256: str) -> HandedUpdate:
    """The same bytes under another digest."""
    ref = update.body.payloads["update"].object
    other = ObjectRef(key=ref.key.replace(ref.sha256, sha256), sha256=sha256, size=ref.size)
    return resigned(update, payloads={"update": Payload(object=other)})


def test_what_a_thief_of_every_token_sends_is_refused_by_name_and_the_round_goes_on(tmp_path):
    """The harness' tokens derive from the job's key, as the master key of the operator gives them: that is not enough here."""
    job = JobFolder(tmp_path, config(("a", "b"), rounds=2, identities=IDENTITIES))
    with Aggregator(job).ready() as aggregator:
        site, other = SigningSite(job, "a", OURS, samples=10), Site(job, "b", samples=15)
        other.next(0.0)
        order = site.next().train
        honest = handed(site, order)
        for name, (forged, code) in FORGERIES.items():
            before = refusals(job, code)
            assert (name, sent(site, forged(honest))) == (name, code)
            assert refusals(job, code) == before + 1, name
        until(
            lambda: next(each["failures"] for each in job.status()["clients"] if each["name"] == "a") > 0,
            not_yet=(KeyError,),
        )
        assert sent(site, signed(OURS, honest)) == "", "the site itself is heard all the same"
        assert sent(site, signed(OURS, honest)) == "", "the same again is the same"
        assert other.take_part(other.next().train).status_code == 200
        again = site.next().train
        assert again.round == 2
        assert sent(site, signed(OURS, honest)) == "StaleRound", "replayed into the round after"
        assert sent(site, resigned(signed(OURS, honest), round=2, base_sha256=again.base_sha256)) == "WrongSignature"
        finish(job, site, other)
        assert "BEGIN PRIVATE" not in aggregator.log()
    assert proven(job) == [(1, "a"), (2, "a")]
    assert [p.samples for p in job.commits()[1].participants] == [10, 15]


def test_reports_need_the_signature_too_and_a_forged_one_ends_nobody_s_part(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, identities=IDENTITIES))
    with Aggregator(job).ready():
        site, other = SigningSite(job, "a", OURS, samples=10), Site(job, "b", samples=15)
        other.next(0.0)
        order = site.next().train
        failure = FailureReport(job_uid=UID, round=1, attempt=1, client="a", reason="TaskFailed", message="it broke")
        report = EvaluationReport(
            job_uid=UID, round=0, client="a", model_sha256=order.base_sha256, samples=1, metrics={"accuracy": 1.0}
        )
        for message, path in ((failure, "failures"), (report, "evaluations")):
            assert sent(site, message, path) == "Unsigned"
            assert sent(site, signed(THIEFS, message), path) == "UnknownKey"
            assert sent(site, signed(OLD, message), path) == "RevokedKey"
            wrong = signed(OURS, message).model_copy(update={"round": message.round + 5})
            assert sent(site, wrong, path) == "WrongSignature"
        finish(job, site, other)
    assert [p.client for p in job.commits()[1].participants] == ["a", "b"]


def test_a_revocation_acts_on_the_next_message_and_another_key_goes_on(tmp_path):
    both = {"a": (public(OURS), public(THIEFS))}
    job = JobFolder(tmp_path, config(("a", "b"), rounds=2, identities=both))
    with Aggregator(job).ready():
        site, other = SigningSite(job, "a", THIEFS, samples=10), Site(job, "b", samples=15)
        other.next(0.0)
        assert site.take_part(site.next().train).status_code == 200
        assert other.take_part(other.next().train).status_code == 200
        order = site.next().train
        assert order.round == 2
        job.write_config(
            job.config.model_copy(update={"identities": {"a": (public(OURS), public(THIEFS, revoked=True))}})
        )
        report = EvaluationReport(
            job_uid=UID, round=1, client="a", model_sha256=order.base_sha256, samples=1, metrics={"accuracy": 1.0}
        )
        until(lambda: sent(site, signed(THIEFS, report), "evaluations") == "RevokedKey")
        assert sent(site, signed(THIEFS, handed(site, order))) == "RevokedKey"
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            site.next(0.0)  # it would train in vain
        site.key = OURS
        finish(job, site, other)
    signed_by = [p.signed.key_id for commit in job.commits() for p in commit.participants if p.signed]
    assert signed_by == [THIEFS.id, OURS.id], "what it signed before stays"


def test_a_site_that_cannot_sign_is_told_before_it_trains(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, quorum=1, identities=IDENTITIES))
    with Aggregator(job).ready():
        response = Site(job, "a").post("next", NextRequest(wait_s=0.0, **SPEAKS))
        assert Refusal.told(response.content).code == "Incompatible"
        assert "its trainer has none to sign by" in Refusal.told(response.content).message


def planted(envelope: dict) -> dict:
    """As somebody writes it who can write the store, and has no key."""
    return {"body": envelope["body"]}


def reattributed(envelope: dict) -> dict:
    return envelope | {"body": envelope["body"] | {"samples": 900}}


@pytest.mark.parametrize("change", [None, planted, reattributed], ids=["untouched", "unsigned", "changed"])
def test_a_restart_verifies_again_what_was_accepted(tmp_path, change):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, identities=IDENTITIES))
    site, other = SigningSite(job, "a", OURS, samples=10), Site(job, "b", samples=15)
    with Aggregator(job).ready() as aggregator:
        other.next(0.0)
        assert site.take_part(site.next().train).status_code == 200
        aggregator.process.kill()
        aggregator.wait()
    (path,) = (job.root / "store").glob("updates/*/*/a/*.manifest.json")
    if change is not None:
        made = {name: value for name, value in change(json.loads(path.read_bytes())).items() if name != "checksum"}
        path.chmod(0o640)
        path.write_text(json.dumps(made))  # without a checksum, as version 0.1 wrote it
    with Aggregator(job).ready() as aggregator:
        finish(job, site, other)
        log = aggregator.log()
    assert proven(job) == [(1, "a")]
    assert [p.samples for p in job.commits()[1].participants] == [10, 15]
    assert site.trained == ([(1, 1)] if change is None else [(1, 1), (1, 1)])
    assert ("damaged object" in log) == (change is not None)


def test_what_somebody_planted_in_the_store_makes_room_for_what_the_site_signed(tmp_path):
    """Who can write the store and has no key writes a manifest before the site's own comes."""
    job = JobFolder(tmp_path, config(("a", "b"), rounds=1, identities=IDENTITIES))
    with Aggregator(job).ready():
        site, other = SigningSite(job, "a", OURS, samples=10), Site(job, "b", samples=15)
        other.next(0.0)
        order = site.next().train
        forged = UpdateEnvelope(body=handed(site, order, samples=900).body)
        job.store.put_once(job.layout.manifest("a", 1, 1), signed(THIEFS, forged).sealed().canonical())
        finish(job, site, other)
    assert proven(job) == [(1, "a")]
    assert [p.samples for p in job.commits()[1].participants] == [10, 15]
