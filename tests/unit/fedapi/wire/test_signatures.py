"""What a site signs, and that nothing else is taken for it: RFC 8032's vectors, and a table of what an attacker may change."""

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire import statement
from fedapi.wire.commit import CommitRecord, Order, Participant
from fedapi.wire.job import JobConfig
from fedapi.wire.message import ObjectRef
from fedapi.wire.signature import SiteKey, key_id
from fedapi.wire.signing import SigningKey, UnusableKeyError, signed, verifies
from fedapi.wire.site import EvaluationReport, FailureReport
from fedapi.wire.update import HandedUpdate, Payload, UpdateEnvelope, UpdateManifest

A, B = "a" * 64, "b" * 64
KEY = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
MANIFEST = UpdateManifest(
    job_uid="uid", round=3, attempt=2, client="north", base_sha256=A, samples=30, steps=4, training_s=1,
    payloads={"update": Payload(object=ObjectRef(key="k", sha256=B, size=9))}, metrics={"loss": 0.5}, nonce="n" * 16,
)  # fmt: skip
EVALUATION = EvaluationReport(
    job_uid="uid", round=3, client="north", model_sha256=A, samples=30, metrics={"accuracy": 0.9}
)
FAILURE = FailureReport(job_uid="uid", round=3, attempt=2, client="north", reason="TaskFailed")
VECTORS = [  # RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature
    ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"),
    ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"),
    ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"),
]  # fmt: skip


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS)
def test_signatures_are_those_of_the_rfc(secret, public, message, signature):
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret)))
    made = base64.b64decode(key.signature(bytes.fromhex(message)))
    assert (key.raw.hex(), made.hex()) == (public, signature)
    assert verifies(key.raw, base64.b64encode(made).decode(), bytes.fromhex(message))


def test_a_key_id_is_what_the_documentation_says():
    assert KEY.id == key_id(KEY.raw) == hashlib.sha256(base64.b64decode(KEY.public_key)).hexdigest()[:32]


def test_what_is_signed_is_canonical_json_of_purpose_place_and_body():
    said = json.loads(statement.of_update(MANIFEST))
    assert said == {
        "purpose": "fedloom.dev/signed-update/v1", "job_uid": "uid", "client": "north", "round": 3, "attempt": 2,
        "payloads": {"update": B}, "samples": 30, "steps": 4, "body_sha256": hashlib.sha256(MANIFEST.canonical()).hexdigest(),
    }  # fmt: skip
    for report, purpose in ((EVALUATION, "evaluation"), (FAILURE, "failure")):
        said = json.loads(statement.of_report(report))
        assert (said["purpose"], said["round"]) == (f"fedloom.dev/signed-{purpose}/v1", 3)
        assert said["body_sha256"] == hashlib.sha256(report.canonical()).hexdigest()


@pytest.mark.parametrize("message", [HandedUpdate(body=MANIFEST), EVALUATION, FAILURE], ids=lambda m: type(m).__name__)
def test_a_message_is_signed_as_the_hub_reads_it(message):
    """Defaults that the sender never set are set once they come as JSON: the signature holds all the same."""
    sent = type(message).model_validate_json(signed(KEY, message).model_dump_json())
    is_update = isinstance(sent, HandedUpdate)
    text = statement.of_update(sent.body) if is_update else statement.of_report(sent)
    assert statement.shown(sent)[0] == KEY.id
    assert verifies(KEY.raw, sent.signature, text)
    assert statement.shown(message) == (None, None), "the message itself is as it was"


def test_a_message_that_no_json_has_stays_unsigned_and_is_refused_by_its_fault():
    broken = EVALUATION.model_copy(update={"metrics": {"accuracy": float("nan")}})
    assert signed(KEY, broken) is broken


CHANGES = [
    ("job_uid", "another"), ("round", 4), ("attempt", 3), ("client", "south"), ("base_sha256", B), ("samples", 31), ("steps", 5),
    ("metrics", {"loss": 0.4}), ("training_s", 2.0), ("nonce", "m" * 16), ("payloads", {}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_a_signature_is_over_every_field_of_an_update(field, value):
    signature = KEY.signature(statement.of_update(MANIFEST))
    assert not verifies(KEY.raw, signature, statement.of_update(MANIFEST.model_copy(update={field: value})))


@pytest.mark.parametrize("field", ["job_uid", "round", "client", "model_sha256", "samples", "metrics"])
def test_and_of_an_evaluation(field):
    other = {"round": 4, "samples": 1, "metrics": {}}.get(field, "b" * 64)
    signature = KEY.signature(statement.of_report(EVALUATION))
    assert not verifies(KEY.raw, signature, statement.of_report(EVALUATION.model_copy(update={field: other})))


@pytest.mark.parametrize("field", ["job_uid", "round", "attempt", "client", "reason", "message"])
def test_and_of_a_failure(field):
    other = {"round": 4, "attempt": 1}.get(field, "other")
    signature = KEY.signature(statement.of_report(FAILURE))
    assert not verifies(KEY.raw, signature, statement.of_report(FAILURE.model_copy(update={field: other})))


def test_a_signature_of_one_purpose_is_none_of_another():
    texts = [statement.of_update(MANIFEST), statement.of_report(EVALUATION), statement.of_report(FAILURE)]
    for signed_text in texts:
        holds = [verifies(KEY.raw, KEY.signature(signed_text), text) for text in texts]
        assert holds == [text is signed_text for text in texts]


@pytest.mark.parametrize("order", [None, Order(round=2, attempt=5)])
def test_what_a_commit_keeps_is_enough_to_verify_an_update(order):
    """A buffered update answers an earlier order than the round that it is committed in."""
    body = MANIFEST if order is None else MANIFEST.model_copy(update=order.model_dump())
    kept = statement.signed(signed(KEY, UpdateEnvelope(body=body)))
    digests = {name: payload.object.sha256 for name, payload in body.payloads.items()}
    participant = Participant(client="north", samples=30, steps=4, payloads=digests, order=order, signed=kept)
    commit = CommitRecord(
        job_uid="uid", round=3, attempt=2, epoch=1, model=ObjectRef(key="m", sha256=A, size=1), planned_at=0, committed_at=1,
        participants=(participant,),
    )  # fmt: skip
    again = CommitRecord.stored(commit.sealed().canonical()).participants[0]
    assert verifies(KEY.raw, again.signed.signature, statement.of_participant(commit, again, again.signed))
    for change in ({"samples": 31}, {"payloads": {"update": A}}, {"client": "south"}, {"steps": None}):
        other = again.model_copy(update=change)
        assert not verifies(KEY.raw, again.signed.signature, statement.of_participant(commit, other, again.signed))


def test_the_digest_of_a_stored_body_is_of_all_of_it_also_of_what_only_a_newer_version_knows():
    envelope = signed(KEY, UpdateEnvelope(body=MANIFEST))
    assert statement.stored_body_sha256(envelope.sealed().canonical()) == envelope.body.digest()
    newer = json.loads(envelope.model_dump_json())
    newer["body"]["later"] = 1
    assert statement.stored_body_sha256(json.dumps(newer).encode()) != envelope.body.digest()
    assert statement.stored_body_sha256(b'{"payload": {}}') is None, "of version 0.1"


def test_a_private_key_is_read_from_its_pem_and_from_nothing_else():
    assert SigningKey.of_pem(KEY.pem()).raw == KEY.raw
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
    for wrong in (b"", b"not a key", encrypted, KEY.pem()[:40]):
        with pytest.raises(UnusableKeyError, match="fedloom site key new"):
            SigningKey.of_pem(wrong)
    assert KEY.pem().decode().splitlines()[1] not in repr(KEY)


@pytest.mark.parametrize(
    "key",
    [
        SiteKey(public_key=KEY.public_key),
        SiteKey(public_key=KEY.public_key, not_before=1.0, not_after=2.0),
        SiteKey(public_key=KEY.public_key, not_after=2.0, revoked=True),
        SiteKey(public_key=KEY.public_key, revoked=True),
    ],
)
def test_keys_travel_in_the_configuration(key):
    config = JobConfig(namespace="n", name="j", uid="u", rounds=1, identities={"north": (key,)})
    text = config.model_dump_json()
    assert JobConfig.model_validate_json(text) == config
    assert json.loads(text)["identities"]["north"] == [key.coded()]
    assert "identities" not in json.loads(config.model_copy(update={"identities": {}}).model_dump_json())


@pytest.mark.parametrize("wrong", ["AAAA", "", "A" * 44, "=" * 44, "A" * 43 + "=|x"])
def test_what_is_no_key_is_none(wrong):
    with pytest.raises(ValueError, match=r"public_key|could not convert"):
        SiteKey.decoded(wrong)


@pytest.mark.parametrize("signature", ["", "A", "A" * 86 + "==", "!" * 88])
def test_what_is_no_signature_does_not_verify(signature):
    assert not verifies(KEY.raw, signature, b"said")
    assert not verifies(b"short", KEY.signature(b"said"), b"said")
    assert replace(KEY) == KEY
