"""Messages that are almost right: of hub and site, sealed in queues, of sums under masks and encrypted ones; answers of verifiers."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from fedaggregator.errors import RequestRefusedError
from fedaggregator.requests import parsing
from fedapi.wire import appraisal, compactjws
from fedapi.wire.appraisal import NotAttestedError
from fedapi.wire.attestation import Attestation
from fedapi.wire.job import JobConfig
from fedapi.wire.message import Message
from fedapi.wire.queued import QueuedAnswer, QueuedRequest
from fedapi.wire.update import HandedUpdate
from fedcore.homomorphic.hub import EncryptedState
from fedqueue import sealing
from fedqueue.sealing import ForgedError, Seal
from tests.golden.fedapi.messages import (
    CONFIG,
    ENCRYPTING,
    ENCRYPTING_TERMS,
    INLINE_TO_HUB,
    INLINE_TO_SITE,
    TO_HUB,
    TO_SITE,
)
from tests.property.mutations import check
from tests.unit.fedapi.wire.test_appraisal import KEYS, NOW, VERIFIER, statement, token
from tests.unit.fedcore.secagg.federation import Federation, terms

OLD = Path(__file__).parents[3] / "golden" / "fedapi" / "version1"


def by_kind(messages) -> dict[type[Message], list[bytes]]:
    found: dict[type[Message], list[bytes]] = {}
    for each in messages:
        found.setdefault(type(each), []).append(each.model_dump_json().encode())
    return found


def of_secagg() -> dict[type[Message], list[bytes]]:
    """One of each message of an attempt."""
    run = Federation.of(terms(3, 2), {"site-002": 3})
    participants = run.advertise()
    deliveries = run.share(participants)
    survivors = run.mask(deliveries)
    asked = run.consent(survivors)
    openings = run.open(asked)
    return by_kind(
        [
            run.terms, participants, *participants.advertisements[:1], *run.hub.shares.values(), *deliveries.values(),
            survivors, *run.hub.consents.values(), asked, *openings, run.hub,
        ]
    )  # fmt: skip


def of_encrypted_sums() -> dict[type[Message], list[bytes]]:
    """What differs from masks in an attempt."""
    said = [INLINE_TO_HUB[name] for name in ("secure-key", "secure-numbers")]
    told = [INLINE_TO_SITE[name] for name in ("secure-mask-by-a-key", "secure-open-an-encrypted-sum")]
    state = EncryptedState(terms=ENCRYPTING_TERMS, key=said[0].key, tags={"oslo": bytes(16)})
    return by_kind([said[0].key, said[1].numbers, told[0].key, told[1].sum, state])


TO_THE_HUB = by_kind([*TO_HUB.values(), *INLINE_TO_HUB.values()])
TO_THE_SITE = by_kind([*TO_SITE.values(), *INLINE_TO_SITE.values(), CONFIG, ENCRYPTING])
TO_THE_SITE |= by_kind(
    [
        Attestation(tee="TDX", evidence=b"\xff{}", update_keys=KEYS),
        QueuedRequest(session="s", number=3, path="next", body="{}"),
        QueuedAnswer(to="00" * 12, session="s", status=422, body="{}"),
    ]
)
SUMS = of_secagg() | of_encrypted_sums()


def named(kind):
    return kind.__name__


@pytest.mark.parametrize("kind", TO_THE_HUB, ids=named)
def test_what_sites_send_is_a_message_or_refused_by_name(kind):
    old = [(OLD / "to-hub" / "updates.json").read_bytes()] if kind is HandedUpdate else []
    check(lambda data: parsing.parsed(data, kind), TO_THE_HUB[kind] + old, RequestRefusedError)


@pytest.mark.parametrize("kind", TO_THE_SITE, ids=named)
def test_what_a_site_is_told_is_a_message_or_invalid(kind):
    check(kind.told, TO_THE_SITE[kind], ValidationError)


@pytest.mark.parametrize("kind", SUMS, ids=named)
def test_what_is_said_on_the_way_to_a_sum_is_a_message_or_invalid(kind):
    check(kind.told, SUMS[kind], ValidationError, examples=100)


def test_what_lies_in_a_queue_is_a_message_or_forged():
    seal = Seal("token", "uid", "oslo")
    samples = [seal.sealed("to hub", text).model_dump_json().encode() for text in (b"", b"{}", b"x" * 300)]
    check(
        lambda data: seal.opened("to hub", sealing.envelope(data.decode("utf-8", "replace"))), samples, ForgedError
    )  # fmt: skip


def test_a_queue_s_message_of_half_a_character_is_forged():
    """JSON can name it, and a queue that speaks JSON delivers what its sender named."""
    with pytest.raises(ForgedError, match="no envelope"):
        sealing.envelope('{"job_uid": "\ud800"}')


def test_a_verifier_s_answer_is_a_verdict_or_none():
    check(
        lambda data: appraisal.appraised(data, statement(), VERIFIER, NOW), [token()], NotAttestedError
    )  # fmt: skip


def test_what_a_verifier_signed_is_a_verdict_or_none(monkeypatch):
    """Its own faults, below a signature that is good."""
    claims = json.dumps(dict(compactjws.content(token(), VERIFIER.public_key))).encode()
    monkeypatch.setattr(compactjws, "content", lambda data, _: compactjws._object(data))
    check(
        lambda data: appraisal.appraised(data, statement(), VERIFIER, NOW), [claims], NotAttestedError, examples=300
    )  # fmt: skip


@pytest.mark.parametrize("name", ["exp", "nbf"])
def test_a_time_that_no_float_holds_is_no_verdict(name, monkeypatch):
    claims = {"exp": NOW + 60, "nbf": NOW - 60, name: 10**400}
    monkeypatch.setattr(compactjws, "content", lambda *_: claims)
    with pytest.raises(NotAttestedError):
        appraisal.appraised(b"", statement(), VERIFIER, NOW)


@pytest.mark.parametrize(
    ("field", "said"), [("roster", {"oslo": 1.5}), ("roster", {"oslo": []}), ("identities", {"oslo": 7})]
)
def test_a_configuration_whose_sites_are_no_texts_is_invalid(field, said):
    table = json.loads(CONFIG.model_dump_json()) | {field: said}
    with pytest.raises(ValidationError, match=field):
        JobConfig.told(json.dumps(table).encode())
