"""Small parts of the aggregator: signed URLs, tokens, settings, the configuration file, status from state."""

import asyncio
import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

import fedaggregator.publisher as publisher_module
from fedaggregator import metrics
from fedaggregator.adapters.statusfile import StatusFile
from fedaggregator.adapters.tokens import Tokens
from fedaggregator.clock import steady_clock
from fedaggregator.engine import records
from fedaggregator.engine.configfile import ConfigFile
from fedaggregator.engine.engine import Engine
from fedaggregator.engine.interpreter import Interpreter
from fedaggregator.errors import FatalError, RequestRefusedError, StatusUnavailableError, StoreDamagedError
from fedaggregator.http.refusals import STATUS
from fedaggregator.http.signedurls import UrlSigner
from fedaggregator.patience import Patience
from fedaggregator.ports import Holder, Shown
from fedaggregator.publisher import Publisher
from fedaggregator.settings import Credentials, Settings, credentials
from fedaggregator.status import status
from fedapi import names
from fedapi.crd.job_status import FederatedJobStatus
from fedapi.outcome import Exit
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedapi.wire.store import CloseRecord, FailureRecord, Head
from fedapi.wire.tokens import site_token
from fedcore.rounds import machine
from fedcore.rounds.effects import Discard, Finish, WriteClose, WriteFailure
from fedcore.rounds.events import Heard, Refused
from fedcore.rounds.state import End, State
from fedstore.errors import HeadMovedError
from fedstore.memory import MemoryStore
from tests.unit.fedcore.rounds import test_round_rules as rules

BLOB = ObjectRef(key="updates/ns/job-uid/site a/x.safetensors", sha256="a" * 64, size=5)
SIGNER = UrlSigner(b"k" * 32, "https://hub:8443/", 60.0)


def parts(url: str) -> tuple[str, dict[str, str]]:
    from urllib.parse import parse_qsl, unquote, urlsplit

    split = urlsplit(url)
    return unquote(split.path.removeprefix("/v1/blobs/")), dict(parse_qsl(split.query))


def test_a_signed_url_is_good_for_exactly_one_thing():
    url, expires_at = SIGNER.signed("PUT", BLOB, 1000.0, Holder("a", 1, 1))
    key, query = parts(url)
    assert url.startswith("https://hub:8443/v1/blobs/updates/")
    assert expires_at == 1060.0
    assert SIGNER.checked("PUT", key, query, 1060.0) == BLOB
    forged = [
        ("GET", key, query),
        ("PUT", key + "x", query),
        *(
            ("PUT", key, query | {name: value})
            for name, value in [("size", "6"), ("sha256", "b" * 64), ("expires", "9999"), ("holder", "b/1/1")]
        ),
        ("PUT", key, query | {"signature": "0" * 64}),
        ("PUT", key, query | {"signature": "é"}),
        ("PUT", key, query | {"size": "x"}),
        *(("PUT", key, {k: v for k, v in query.items() if k != name}) for name in query),
    ]
    for method, path, changed in forged:
        with pytest.raises(RequestRefusedError) as error:
            SIGNER.checked(method, path, changed, 1000.0)
        assert error.value.refusal.code == "Unauthorized"
    with pytest.raises(RequestRefusedError) as error:
        SIGNER.checked("PUT", key, query, 1061.0)
    assert error.value.refusal.code == "Expired"
    with pytest.raises(RequestRefusedError):
        UrlSigner(b"j" * 32, "https://hub:8443/", 60.0).checked("PUT", key, query, 1000.0)


@pytest.mark.parametrize(
    ("header", "proves"),
    [
        (f"Bearer {site_token(b'k' * 32, 'a')}", True),
        (f"bearer {site_token(b'k' * 32, 'a')}", True),
        (f"Bearer {site_token(b'k' * 32, 'b')}", False),
        (f"Bearer {site_token(b'j' * 32, 'a')}", False),
        (f"Basic {site_token(b'k' * 32, 'a')}", False),
        ("Bearer é", False),
        ("", False),
    ],
)
def test_site_tokens(header, proves):
    shown = Shown("POST", "/v1/sites/a/next", {"authorization": header})
    assert (Tokens(b"k" * 32).doubt("a", shown) == "") is proves


def test_every_refusal_has_a_status():
    assert set(STATUS) == set(Refusal.model_fields["code"].annotation.__args__)


def test_keys_are_not_in_any_repr(tmp_path):
    secret = bytes(range(32))
    for name, data in ((names.FILE_JOB_KEY, secret), (names.FILE_TLS_CERT, b"c"), (names.FILE_TLS_KEY, b"k")):
        (tmp_path / name).write_bytes(data)
    found = credentials(tmp_path)
    for shown in (repr(found), repr(UrlSigner(secret, "https://x", 1.0))):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert isinstance(found, Credentials)


@pytest.mark.parametrize(
    ("name", "data"), [(names.FILE_JOB_KEY, None), (names.FILE_JOB_KEY, b"short"), (names.FILE_TLS_KEY, None)]
)
def test_missing_credentials_are_named(tmp_path, name, data):
    contents = {names.FILE_JOB_KEY: bytes(32), names.FILE_TLS_CERT: b"c", names.FILE_TLS_KEY: b"k", name: data}
    for file, content in contents.items():
        if content is not None:
            (tmp_path / file).write_bytes(content)
    with pytest.raises(FatalError, match=name):
        credentials(tmp_path)


def test_settings_come_from_the_environment(monkeypatch):
    for name in (names.ENV_JOB, names.ENV_NAMESPACE, names.ENV_JOB_UID, names.ENV_PUBLIC_URL):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv(names.ENV_PORT, "1234")
    settings = Settings()
    assert (settings.port, settings.status, str(settings.store)) == (1234, "kubernetes", names.PATH_STORE)


def test_configuration_file_keeps_the_last_good_version(tmp_path):
    path = tmp_path / "job.json"
    file = ConfigFile(path, "uid")
    with pytest.raises(FatalError):
        file.first()
    path.write_text(rules.config().model_dump_json())
    assert file.first().rounds == 2
    assert file.changed() is None
    for text, rounds_ in [
        ("{", None),
        (rules.config(rounds=9).model_dump_json(), 9),
        (rules.config(uid="v").model_dump_json(), None),
    ]:
        new = tmp_path / "new"
        new.write_text(text)
        new.replace(path)
        changed = file.changed()
        assert (changed.rounds if changed else None) == rounds_


def test_status_while_collecting():
    state, _ = rules.accept(rules.collecting("abc", quorum=1, rounds=7, store_uri="volume://claim"), "b")
    state, _ = machine.step(state, Refused(22.0, "c", "WrongDigest", "no"))
    shown = status(state)
    FederatedJobStatus.model_validate(shown)
    assert shown["participants"] == "1/3"
    assert shown["round"] == {
        "current": 1, "total": 7, "attempt": 1, "startTime": "1970-01-01T00:00:10Z", "deadline": "1970-01-01T00:01:50Z",
        "step": "Train", "selected": ["a", "b", "c"], "accepted": 1, "committed": 0, "progress": "0/7",
    }  # fmt: skip
    assert [(c["name"], c["state"], c["failures"]) for c in shown["clients"]] == [
        ("c", "Training", 1), ("a", "Training", 0), ("b", "Accepted", 0),
    ]  # fmt: skip
    assert shown["model"] == {"uri": "volume://claim/" + rules.ref(rules.A).key, "sha256": rules.A, "round": 0}
    assert "outcome" not in shown
    assert "headlineMetric" not in shown


def test_status_at_the_end():
    state = rules.collecting(rounds=1)
    for client, accuracy in (("a", 0.1), ("b", 0.3)):
        state, _ = rules.evaluated(state, client, 0, rules.A, accuracy)
        state, _ = rules.accept(state, client)
    state, _ = machine.step(state, rules.Folded(40.0, 1, 1, rules.ref(rules.B)))
    assert status(state)["headlineMetric"] == "accuracy 0.20"
    for client in "ab":
        state, _ = rules.evaluated(state, client, 1, rules.B, 0.7901)
    shown = status(state)
    assert shown["outcome"]["reason"] == "RoundsCompleted"
    assert shown["participants"] == "2/2"
    assert shown["headlineMetric"] == "accuracy 0.79"
    assert shown["metrics"] == [{"name": "accuracy", "value": "0.7901", "round": 1}]
    assert shown["bestRound"] == {"round": 1, "metric": "accuracy", "value": "0.7901"}
    assert shown["round"]["progress"] == "1/1"


def test_status_lists_at_most_100_clients_failing_first():
    clients = [f"s{i:03d}" for i in range(150)]
    state = rules.collecting(clients)
    state, _ = machine.step(state, Heard(11.0, ("s140",)))
    state, _ = machine.step(state, Refused(11.0, "s149", "WrongDigest", "no"))
    shown = status(state)
    assert len(shown["clients"]) == 100
    assert shown["clients"][0]["name"] == "s149"
    assert len(shown["round"]["selected"]) == 100


def test_status_file_is_replaced_whole(tmp_path):
    sink = StatusFile(tmp_path / "x" / "status.json")
    sink.publish({"a": 1})
    sink.publish({"a": 2})
    assert json.loads((tmp_path / "x" / "status.json").read_text()) == {"a": 2}
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["status.json"]


class BrokenSink:
    """A sink with a fault of its own, not one of the network."""

    def publish(self, status):
        raise KeyError("resourceVersion")

    def heard(self, client):
        raise AssertionError(client)


class RefusingSink:
    """A sink that is answered with a code."""

    def __init__(self, status, lease=0, until=10**9):
        self.codes, self.calls, self.until = (status, lease), 0, until

    def publish(self, status):
        self._answer(self.codes[0])

    def heard(self, client):
        self._answer(self.codes[1])

    def _answer(self, code):
        self.calls += 1
        if code and self.calls < self.until:
            raise StatusUnavailableError(f"{code} Unauthorized", code)


def ends_with(tmp_path, sink, act=None):
    """Runs an engine with its publisher; until both end, or the sink was called often enough."""
    (tmp_path / "job.json").write_text(rules.config().model_dump_json())

    async def run():
        config = ConfigFile(tmp_path / "job.json", "uid")
        with ThreadPoolExecutor(1) as pool:
            engine = Engine(MemoryStore(), config, steady_clock(), pool, 1.0)
            await engine.start()
            publisher = Publisher(engine, sink)
            publishing = asyncio.create_task(publisher.run())
            serving = asyncio.create_task(act(publisher, engine) if act else asyncio.sleep(600))
            try:
                async with asyncio.timeout(60):
                    await engine.run(serving, publishing)
            finally:
                serving.cancel()

    asyncio.run(run())


def test_the_process_ends_with_its_publisher(tmp_path):
    with pytest.raises(KeyError):
        ends_with(tmp_path, BrokenSink())


@pytest.mark.parametrize("code", [401, 403, 404, 422])
def test_the_process_ends_when_its_status_stays_refused(tmp_path, monkeypatch, code):
    monkeypatch.setattr(publisher_module, "Patience", lambda clock: Patience(clock, patience_s=0.0))
    with pytest.raises(FatalError, match=f"may not be written.*{code}") as told:
        ends_with(tmp_path, RefusingSink(code))
    assert told.value.code is Exit.STATUS_REFUSED


@pytest.mark.parametrize(("code", "fatal"), [(401, True), (403, False), (500, False), (0, False)])
def test_a_void_token_is_noticed_by_heartbeats_and_the_right_to_one_lease_is_not(tmp_path, monkeypatch, code, fatal):
    monkeypatch.setattr(publisher_module, "Patience", lambda clock: Patience(clock, patience_s=0.0))
    sink = RefusingSink(0, lease=code)

    async def act(publisher, engine):
        publisher.heard("a")
        await asyncio.gather(*publisher._renewals)
        if fatal:
            await asyncio.sleep(600)

    with pytest.raises(FatalError) if fatal else contextlib.nullcontext():
        ends_with(tmp_path, sink, act)


@pytest.mark.parametrize("code", [0, 409, 429, 500, 503])
def test_a_server_that_is_away_or_busy_is_waited_for(code):
    async def run():
        patience = Patience(lambda: 0.0, patience_s=0.0)
        patience.status(StatusUnavailableError("x", code))
        assert not patience.final.done()

    asyncio.run(run())


def test_one_report_that_is_taken_begins_the_patience_anew():
    async def run():
        now = [0.0]
        patience = Patience(lambda: now[0])
        for at, taken in ((0, False), (59, False), (60, True), (61, False), (120, False)):
            now[0] = at
            patience.taken() if taken else patience.status(StatusUnavailableError("x", 403))
        assert not patience.final.done()
        now[0] = 121
        patience.status(StatusUnavailableError("x", 403))
        assert isinstance(patience.final.exception(), FatalError)

    asyncio.run(run())


def test_every_metric_is_filled():
    source = "".join(path.read_text() for path in Path(metrics.__file__).parent.rglob("*.py"))
    made = [name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)]
    assert made
    assert [name for name in made if f"metrics.{name}." not in source] == []


def started(store: MemoryStore) -> tuple[Interpreter, Head]:
    """One more aggregator on a store."""
    layout = State(rules.config(), 0).layout
    head, tag = records.take_head(store, layout)
    return Interpreter(store, layout, head, tag), head


def attempt_records(client: str) -> tuple[CloseRecord, FailureRecord]:
    at = {"job_uid": "uid", "round": 1, "attempt": 1, "at": 5.0}
    return CloseRecord(accepted=(client,), reason="Quorum", **at), FailureRecord(reason="x", message=client, **at)


def test_a_superseded_aggregator_decides_nothing():
    store = MemoryStore()
    old, _ = started(store)
    new, head = started(store)
    close, failure = attempt_records("a")
    for effect in (WriteClose(close), WriteFailure(failure)):
        with pytest.raises(HeadMovedError):
            old.perform(effect)
        new.perform(effect)
    assert {key.split("/")[-2] for key in store.keys(State(rules.config(), 0).layout.rounds())} == {f"e{head.epoch}-a1"}


@pytest.mark.parametrize("content", [None, b"", b'{"epoch":1,"round":-1}x'])
def test_a_head_that_is_lost_or_changed_is_told_from_one_that_was_taken(content):
    store = MemoryStore()
    interpreter, _ = started(store)
    close, failure = attempt_records("a")
    interpreter.perform(WriteFailure(failure))
    key = State(rules.config(), 0).layout.head
    store.delete(key)
    if content is not None:
        store._objects[key] = content
    for effect in (WriteClose(close), Finish(End("Failed", "x", "", 1.0))):
        with pytest.raises(StoreDamagedError, match=r"HEAD\.json"):
            interpreter.perform(effect)


def test_of_several_records_the_one_of_the_newest_epoch_counts():
    store, layout = MemoryStore(), State(rules.config(), 0).layout
    store.replace_head(layout.head, Head(epoch=1, round=0).sealed().canonical(), None)
    for epoch in range(2, 13):
        interpreter, head = started(store)
        close, failure = attempt_records(f"epoch{epoch}")
        interpreter.perform(WriteClose(close))
        interpreter.perform(WriteFailure(failure))
    log = records.load_log(store, layout, head)
    assert [close.accepted for close in log.closes] == [(f"epoch{epoch}",) for epoch in range(2, 13)]
    assert log.failures[-1].message == "epoch12"


def test_old_updates_go_whoever_sent_them():
    store = MemoryStore()
    interpreter, _ = started(store)
    layout = State(rules.config(), 0).layout
    for client in ("a", "left-long-ago"):
        for round_ in (1, 2):
            store.put_once(layout.update(client, round_, rules.A), b"x")
            store.put_once(layout.manifest(client, round_, 1), b"{}")
    interpreter.perform(Discard(1, frozenset()))
    left = list(store.keys(layout.updates("")))
    assert len(left) == 4
    assert all("_round_2" in key for key in left)
