"""Every released form of the messages is still understood, and what is answered to an old trainer it can read.

version1 is what 0.1 sent, written by its own code; version2 is this version's, refreshed with FEDLOOM_REFRESH_GOLDEN=1
as long as it is not released, and never after.
"""

import json
import os
from pathlib import Path

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.requests import parsing
from fedapi.wire import version1
from fedapi.wire.job import JobConfig
from fedapi.wire.message import Message
from fedapi.wire.site import Assignment, NextRequest, Refusal
from fedapi.wire.statuses import STATUS
from fedapi.wire.update import HandedUpdate
from fedtrainer.agent import answers
from tests.golden.fedapi import released01
from tests.golden.fedapi.messages import (
    CONFIG,
    ENCRYPTING,
    INLINE_TO_HUB,
    INLINE_TO_SITE,
    MANIFEST,
    TO_HUB,
    TO_SITE,
    TRAINING,
    UPDATE,
)

HERE = Path(__file__).parent
OLD, NOW = HERE / "version1", HERE / "version2"
OUR_ACTION = {
    "RetryError": "Retry",
    "RefusedError": "Refused",
    "DroppedError": "Dropped",
    "LinkExpiredError": "LinkExpired",
}


def golden(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize("name", TO_HUB)
def test_the_hub_takes_what_a_trainer_of_0_1_sends(name):
    said = golden(OLD / "to-hub" / f"{name}.json")
    taken = parsing.parsed(said, type(TO_HUB[name]))
    if isinstance(taken, HandedUpdate):
        assert taken.body == MANIFEST.model_copy(update={"steps": None})
    elif isinstance(taken, NextRequest):
        assert (taken.protocol, taken.oldest_protocol, taken.features) == (1, 1, ())
        assert (taken.wait_s, taken.doing) == (TO_HUB[name].wait_s, TO_HUB[name].doing)
    else:
        assert taken == TO_HUB[name]


def test_what_is_wrong_in_a_message_of_0_1_is_refused_as_ever():
    said = json.loads(golden(OLD / "to-hub" / "updates.json")) | {"sampels": 3}
    with pytest.raises(RequestRefusedError, match="sampels"):
        parsing.parsed(json.dumps(said).encode(), HandedUpdate)


@pytest.mark.parametrize("name", sorted(TO_SITE.keys() - {"refusal"}))
def test_answers_to_a_trainer_of_0_1_have_its_form(name):
    """As it is sent to a site of protocol 1: without what is newer. The released code reads it, strict as it is."""
    said = golden(OLD / "to-site" / f"{name}.json")
    answer = type(TO_SITE[name]).told(said)
    assert json.loads(answer.model_dump_json()) == json.loads(said)
    model = {Assignment: released01.Assignment}.get(type(answer)) or getattr(released01, type(answer).__name__)
    assert model.model_validate_json(answer.model_dump_json()).model_dump() == answer.model_dump()


def test_a_trainer_of_0_1_reads_every_refusal_and_does_what_today_s_would_do():
    known = set(json.loads(golden(OLD / "refusal-codes.json")))
    for code in Refusal.model_fields["code"].annotation.__args__:
        ours = answers.error(STATUS[code], Refusal(code=code, message="m").model_dump_json().encode())
        old = version1.code(code)
        assert old in known
        body = Refusal(code=old, message="m").model_dump_json().encode()
        assert released01.Refusal.model_validate_json(body).code == old
        action = OUR_ACTION.get(type(ours).__name__, "Rejected")
        assert released01.action(STATUS[old], body) == action, code


def test_a_configuration_of_0_1_is_still_read():
    read = JobConfig.model_validate_json(golden(OLD / "config.json"))
    by_name = tuple(sorted(read.roster, key=lambda entry: entry.name))  # as the operator writes it, then and now
    assert read.model_copy(update={"roster": by_name}) == CONFIG


def test_determinism_is_said_where_it_says_more_only():
    """Trainers of 0.1 refuse orders with fields that they do not know."""
    assert "determinism" not in json.loads(TRAINING.model_dump_json())
    assert released01.TrainingSettings.model_validate_json(TRAINING.model_dump_json())


@pytest.mark.parametrize(
    ("path", "message"),
    [(f"to-hub/{name}", m) for name, m in (TO_HUB | INLINE_TO_HUB).items()]
    + [(f"to-site/{name}", m) for name, m in (TO_SITE | INLINE_TO_SITE).items()]
    + [("config", CONFIG), ("config-of-encrypted-sums", ENCRYPTING)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_messages_have_the_form_of_this_version(path, message: Message):
    file = NOW / f"{path}.json"
    text = json.dumps(json.loads(message.model_dump_json()), indent=1, sort_keys=True) + "\n"
    if os.environ.get("FEDLOOM_REFRESH_GOLDEN"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.read_text() == text
    assert type(message).model_validate_json(file.read_bytes()) == message


def test_what_comes_beside_an_envelope_is_neither_signed_nor_kept():
    handed = INLINE_TO_HUB["updates-inline"]
    assert handed.envelope.canonical() == TO_HUB["updates"].envelope.canonical()
    assert parsing.parsed(handed.model_dump_json().encode(), HandedUpdate) == handed
    for content in ("not base64", "AAA", 7, None):
        said = json.loads(handed.model_dump_json()) | {"content": {"update": content}}
        with pytest.raises(RequestRefusedError, match=r"content\.update"):
            parsing.parsed(json.dumps(said).encode(), HandedUpdate)


def test_a_payload_s_place_is_what_the_order_says():
    order = INLINE_TO_SITE["train-inline"].train
    assert order.inline.object(UPDATE.sha256, UPDATE.size) == UPDATE


@pytest.mark.parametrize("name", TO_SITE)
def test_a_site_ignores_what_a_newer_hub_says_beside(name):
    said = json.loads(golden(NOW / "to-site" / f"{name}.json")) | {"newer": {"than": "this"}}
    for part in (said.get("train"), said.get("evaluate"), said.get("object")):
        if part:
            part["also"] = 1
    assert type(TO_SITE[name]).told(json.dumps(said).encode()) == TO_SITE[name]


@pytest.mark.parametrize("name", TO_HUB)
def test_the_hub_refuses_what_a_site_of_its_version_says_beside(name):
    said = json.loads(golden(NOW / "to-hub" / f"{name}.json")) | {"newer": 1}
    with pytest.raises(RequestRefusedError, match="newer"):
        parsing.parsed(json.dumps(said).encode(), type(TO_HUB[name]))


def test_a_newer_site_is_heard_out():
    said = json.loads(golden(NOW / "to-hub" / "next.json")) | {"protocol": 3, "newer": 1}
    assert parsing.parsed(json.dumps(said).encode(), NextRequest).protocol == 3
    said |= {"features": ["f"] * 33}
    with pytest.raises(RequestRefusedError, match="features"):
        parsing.parsed(json.dumps(said).encode(), NextRequest)
