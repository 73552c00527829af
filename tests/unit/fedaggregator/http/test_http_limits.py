"""The parts that bound what clients cost: who gives way, how slow is too slow, which messages are looked at, log lines."""

import asyncio
import base64
import json
import logging
import resource

import pytest

from fedaggregator.errors import RequestRefusedError
from fedaggregator.http import messages
from fedaggregator.http.connections import Connections
from fedaggregator.http.pace import Pace
from fedaggregator.limits import Limits, within_open_files
from fedaggregator.ports import Holder
from fedaggregator.requests import parsing
from fedapi import jsonlog, names
from fedapi.wire.encryptedsum import MAX_KEY_BYTES, SEALED_KEY_BYTES, SealedKey
from fedapi.wire.metrics import MAX_METRICS
from fedapi.wire.secagg import MAX_SITES, SEALED_BYTES, SHARE_BYTES, Opening, Shares
from fedapi.wire.secureround import SecureSaid
from fedapi.wire.site import EvaluationReport, FailureReport, NextRequest
from fedapi.wire.update import MAX_PAYLOADS, HandedUpdate


class Connection:
    """Keeps what is done to it."""

    def __init__(self, holder):
        self.holder, self.aborted, self.reason = holder, False, ""

    def abort(self):
        self.aborted = True

    def check(self, now):
        return self.reason


def opened(table: Connections, *addresses: str) -> list[Connection]:
    made = [Connection(("address", address)) for address in addresses]
    for connection in made:
        table.opened(connection)
    return made


def test_the_address_that_holds_most_gives_way_and_never_the_newest():
    table = Connections(Limits(unauthenticated=4))
    first, *flood = opened(table, "honest", "evil", "evil", "evil", "evil", "evil", "honest")
    assert [c.aborted for c in flood] == [True, True, True, False, False, False]
    assert not first.aborted
    last = opened(table, "x", "y", "z")
    assert not any(c.aborted for c in last)


def test_a_site_gives_way_to_itself_and_the_largest_to_all():
    table = Connections(Limits(connections=8, connections_per_site=6))
    many = opened(table, *["address"] * 7)
    for connection in many:
        table.proved(connection, "greedy")
    assert [c.aborted for c in many] == [True] + [False] * 6
    others = opened(table, "p", "q")
    table.proved(others[0], "modest")
    table.proved(others[1], "frugal")
    (new,) = opened(table, "r")
    assert [c.aborted for c in many] == [True, True] + [False] * 5
    assert not new.aborted
    table.closed(many[0])  # was ended before: counts once
    table.proved(many[0], "greedy")
    assert [c.aborted for c in [*others, new]] == [False] * 3


def test_what_is_over_its_time_is_swept():
    table = Connections(Limits())
    early, late = opened(table, "a", "a")
    late.reason = "Stalled"
    table.sweep(1.0)
    assert (early.aborted, late.aborted) == (False, True)


@pytest.mark.parametrize(
    ("moves", "enough"),
    [
        ([(9, 0)], True),
        ([(11, 0)], False),
        ([(5, 0)] * 3, False),
        ([(5, 500)] * 100, True),  # 100 bytes a second
        ([(5, 499)] * 10_000, False),
        ([(1, 1 << 40), (11, 0)], False),  # speed in the past is no credit for silence
        ([(9.9, 0), (0.01, 1000)] * 50, True),
    ],
)
def test_pace(moves, enough):
    pace = Pace(stall_s=10, least_bytes_per_s=100)
    assert all(pace.moved(seconds, count) for seconds, count in moves) is enough


LARGEST = {
    HandedUpdate: {"signature": "s" * 86 + "==", "key_id": "0" * 32, "body": {
        "job_uid": "u" * 36, "round": 1 << 30, "attempt": 1 << 30, "client": "c" * 253, "base_sha256": "a" * 64,
        "payloads": {
            f"{n:063d}": {"codec": "None", "object": {"key": "k" * 1024, "sha256": "b" * 64, "size": 1 << 50}}
            for n in range(MAX_PAYLOADS)
        },
        "samples": 1 << 40, "steps": 1 << 40,
        "metrics": {"\u1234" * 61 + f"{n:02d}": 1.2345678901234567e-100 for n in range(MAX_METRICS)}, "training_s": 1e9,
        "nonce": "n" * 64,
    }},
    EvaluationReport: {
        "job_uid": "u" * 36, "round": 1 << 30, "client": "c" * 253, "model_sha256": "a" * 64, "samples": 1 << 40,
        "metrics": {f"{n:063d}": 1.2345678901234567e-100 for n in range(MAX_METRICS)},
    },
    FailureReport: {
        "job_uid": "u" * 36, "round": 1, "attempt": 1, "client": "c" * 253, "reason": "r" * 63, "message": "\U0001f600" * 1024,
    },
    NextRequest: {"wait_s": 60, "doing": [1 << 30, 1 << 30]},
}  # fmt: skip


@pytest.mark.parametrize("model", LARGEST, ids=lambda model: model.__name__)
def test_the_largest_honest_messages_pass(model):
    data = json.dumps(LARGEST[model]).encode()
    assert len(data) <= Limits().message_bytes
    assert Limits().update_bytes == Limits().message_bytes + len(base64.b64encode(bytes(Limits().inline_bytes)))
    assert parsing.parsed(data, model) == model.model_validate_json(data)


def _names(count: int) -> list[str]:
    return sorted(f"{'c' * 249}{n:04d}" for n in range(count))


def _exchanged(sites: int) -> list[SecureSaid]:
    """The largest that a site says to so many others."""
    names, of = _names(sites), {"round": 1 << 30, "attempt": 1 << 30, "signature": "s" * 86 + "==", "key_id": "0" * 32}
    sealed = dict.fromkeys(names, bytes(SEALED_KEY_BYTES))
    shares = dict.fromkeys(names, bytes(SEALED_BYTES))
    seeds = dict.fromkeys(names, bytes(SHARE_BYTES))
    parts = {
        "key": SealedKey(site=names[0], participants_sha256="a" * 64, sealed=sealed, key=bytes(MAX_KEY_BYTES)),
        "shares": Shares(site=names[0], participants_sha256="a" * 64, sealed=shares),
        "opening": Opening(site=names[0], seeds=seeds, mask_keys={}),
    }
    return [SecureSaid(**of, **{name: part}) for name, part in parts.items()]


async def _received(said: SecureSaid, limits: Limits, sites: int) -> SecureSaid:
    body = said.model_dump_json().encode()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body}

    return await messages.received(receive, SecureSaid, limits, limits.exchange_bytes(sites), sites)


@pytest.mark.parametrize("sites", [2, MAX_SITES])
@pytest.mark.parametrize("limits", [Limits(), Limits(message_bytes=16384, inline_bytes=0)], ids=["default", "small"])
def test_what_sites_say_in_an_exchange_passes_however_many_they_are(sites, limits):
    for said in _exchanged(sites):
        assert asyncio.run(_received(said, limits, sites)) == said


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({f"k{n}": 1 for n in range(20_000)}),
        json.dumps({"metrics": {f"k{n}": "x" for n in range(20_000)}}),
        json.dumps({"metrics": [[]] * 20_000}),
        json.dumps({"payload": {"key": [{"x": [1, 2, 3]}] * 9000}}),
        json.dumps([0] * 100_000),
    ],
    ids=["keys", "metrics", "lists", "nested", "list"],
)
def test_messages_of_many_values_are_not_validated(body, monkeypatch):
    monkeypatch.setattr(HandedUpdate, "model_validate", None)
    with pytest.raises(RequestRefusedError, match="keys and values"):
        parsing.parsed(body.encode(), HandedUpdate)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 30_000, b'{"a":' * 6000, b"9" * 30_000, b'"' + b"\\u0000" * 5000]
)
def test_what_is_no_json_is_malformed(body):
    with pytest.raises(RequestRefusedError) as error:
        parsing.parsed(body, NextRequest)
    assert error.value.refusal.code == "Malformed"
    assert len(error.value.refusal.message) < 1000


def test_a_repeated_key_is_seen_once():
    with pytest.raises(RequestRefusedError) as error:
        parsing.parsed(b"{" + b'"x":1,' * 5000 + b'"x":1}', NextRequest)
    assert error.value.refusal.message.count("Extra") == 1


def test_a_flood_of_lines_is_cut_and_counted():
    budget = jsonlog.Budget(burst=3, per_s=0.0)
    records = [logging.LogRecord("n", logging.INFO, "f", 1, "m", (), None) for _ in range(10)]
    assert [budget.filter(record) for record in records] == [True] * 3 + [False] * 7
    budget._per_s = 1.0
    assert not budget.filter(records[0])
    records[0].created += 1
    assert budget.filter(records[0])
    assert records[0].fields == {"left_out": 8}


def test_the_limit_of_open_files_is_raised_and_kept_to(monkeypatch):
    files = {"limits": (64, 1024)}
    monkeypatch.setattr(resource, "getrlimit", lambda _: files["limits"])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: files.update(limits=limits))
    fitted = within_open_files(Limits())
    assert files["limits"] == (1024, 1024)
    assert fitted.connections < 1024
    assert fitted.unauthenticated < fitted.connections
    assert within_open_files(Limits(connections=100, unauthenticated=50)) == Limits(connections=100, unauthenticated=50)


def test_limits_can_be_set_by_users():
    aliases = {str(field.validation_alias) for field in Limits.model_fields.values()}
    assert aliases == {name for name in names.TUNABLE if name.startswith("FEDLOOM_HTTP_")}


def test_limits_are_read_by_their_exact_names(monkeypatch):
    monkeypatch.setenv("fedloom_http_connections", "9")
    assert Limits().connections == 4096
    monkeypatch.setenv("FEDLOOM_HTTP_CONNECTIONS", "9")
    assert Limits().connections == 9


def test_holders_survive_their_url():
    assert Holder.of(Holder("a.b-c", 3, 2).text()) == Holder("a.b-c", 3, 2)
