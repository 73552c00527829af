"""The access log: what a record tells, whose records may be left out, and what never gets in."""

import asyncio
import io
import json
import logging

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fedaggregator import accesslog
from fedaggregator.accesslog import Call
from fedaggregator.http.access import Access
from fedapi.jsonlog import Budget, JsonLines


@pytest.fixture
def records(monkeypatch):
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    monkeypatch.setattr(accesslog.log, "handlers", [handler])
    monkeypatch.setattr(accesslog.log, "level", logging.INFO)
    monkeypatch.setattr(accesslog.log, "propagate", False)
    monkeypatch.setattr(accesslog, "_of", {"job": "heart"})
    monkeypatch.setattr(accesslog, "_strangers", Budget(burst=3, per_s=0))
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def proven(**values):
    return Call("HTTPS", "10.0.0.7", "POST", "/v1/sites/berlin/next", client="berlin", identity="Token", **values)


def test_a_record_says_who_did_what_when_and_how_it_ended(records):
    with accesslog.call(proven()):
        accesslog.note(action="updates", status=200)
        accesslog.note(round=3, attempt=1)
        accesslog.moved(bytes_in=7)
        accesslog.moved(bytes_in=5, bytes_out=2)
    (record,) = records()
    assert record.pop("time")
    assert record.pop("duration_s") >= 0
    assert record == {
        "level": "INFO", "logger": "fedloom.access", "message": "call", "job": "heart", "transport": "HTTPS",
        "remote": "10.0.0.7", "method": "POST", "path": "/v1/sites/berlin/next", "action": "updates", "client": "berlin",
        "identity": "Token", "round": 3, "attempt": 1, "outcome": "Done", "status": 200, "bytes_in": 12, "bytes_out": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "outcome"), [(ValueError, "Error"), (asyncio.CancelledError, "Stopping"), (KeyError, "Error")]
)
def test_a_call_that_breaks_off_is_recorded(records, error, outcome):
    with pytest.raises(error), accesslog.call(proven()):
        raise error
    assert [record["outcome"] for record in records()] == [outcome]


def test_of_strangers_some_records_are_left_out_and_of_sites_none(records):
    for _ in range(20):
        accesslog.write(Call("HTTPS", "10.0.0.8", "GET", "/", outcome="NoRoute"))
        accesslog.write(proven())
    clients = [record.get("client") for record in records()]
    assert clients.count("berlin") == 20
    assert clients.count(None) == 3


def test_outside_of_a_call_nothing_is_noted(records):
    accesslog.note(outcome="Unauthorized")
    accesslog.moved(bytes_in=1)
    assert records() == []


def test_fields_are_cut(records):
    accesslog.write(Call("HTTPS", "", "GET", "/" + "x" * 5000))
    assert len(records()[0]["path"]) == accesslog.LONGEST


async def echo(request):
    accesslog.note(client="berlin", identity="SignedUrl")
    return PlainTextResponse(b"four", int(request.query_params.get("status", 200)))


async def asked(application):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(application), base_url="https://hub") as client:
        await client.put(
            "/v1/blobs/model?signature=5ec2e7", content=b"b0d1e5", headers={"authorization": "Bearer 70ce4"}
        )
        await client.put("/v1/blobs/model?status=409")
        await client.get("/elsewhere")


def test_a_request_is_recorded_without_query_headers_and_body(records):
    asyncio.run(asked(Access(Starlette(routes=[Route("/v1/blobs/{key}", echo, methods=["PUT"])]))))
    first, second, third = records()
    assert [first["path"], first["status"], first["outcome"], first["bytes_out"]] == ["/v1/blobs/model", 200, "Done", 4]
    assert [second["status"], second["outcome"]] == [409, "HTTP409"]
    assert [third["status"], third["outcome"], "client" in third] == [404, "HTTP404", False]
    assert all(secret not in json.dumps(records()) for secret in ("5ec2e7", "b0d1e5", "70ce4"))


def test_records_go_to_standard_output_whatever_level_the_log_has(capsys):
    before = accesslog.log.handlers, accesslog.log.propagate, accesslog.log.level
    try:
        accesslog.configure(job="heart")
        accesslog.write(proven())
    finally:
        accesslog.log.handlers, accesslog.log.propagate, accesslog.log.level = before
        accesslog._of.clear()
    assert json.loads(capsys.readouterr().out)["job"] == "heart"
