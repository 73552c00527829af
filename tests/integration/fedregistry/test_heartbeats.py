"""The registry's process over a real protocol of DynamoDB: heartbeats, refusals, hostile input, an outage of the table."""

import json
import socket
import threading

import pytest

from fedapi.wire.tokens import heartbeat_token, reader_token
from tests.integration.fedregistry.harness import KEY, running
from tests.servers import moto as moto_server
from tests.waiting import PATIENCE_S, until

CAPABILITY = {"cpu": "16", "memory": "64Gi", "accelerator": "nvidia.com/gpu x4"}


@pytest.fixture(scope="module")
def registry(moto, tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    generations = folder / "generations.json"
    generations.write_text("{}")
    credentials = moto.credentials(folder / "table-credentials")
    with running(folder / "process", moto.endpoint, credentials, generations_file=generations) as started:
        started.generations = generations
        yield started


@pytest.fixture
def http(registry):
    with registry.client() as client:
        yield client


def item(moto, registry, client_id):
    client = moto.client("dynamodb")
    try:
        return client.get_item(TableName=registry.table, Key={"ClientID": {"S": client_id}}).get("Item")
    finally:
        client.close()


def test_a_heartbeat_is_acknowledged_and_its_site_known(registry, http, moto):
    answer = registry.heartbeat(http, "hospitals/a", capability=CAPABILITY, organization="Charité")
    assert answer.status_code == 200
    assert answer.json()["acknowledged"] is True
    assert answer.json()["time"].endswith("+00:00")
    site = until(lambda: registry.sites(http).get("hospitals/a"))
    assert (site["status"], site["capability"], site["organization"]) == ("Active", CAPABILITY, "Charité")
    stored = item(moto, registry, "hospitals/a")
    assert set(stored) == {"ClientID", "LastSeen", "Capability", "Status", "ExpiryTime", "Organization"}
    assert int(stored["ExpiryTime"]["N"]) == int(float(stored["LastSeen"]["N"])) + 24 * 3600


def test_each_call_is_in_the_access_log_and_no_token(registry, http):
    registry.heartbeat(http, "hospitals/logged")
    registry.heartbeat(http, "hospitals/logged", token="f" * 64)
    registry.sites(http)
    lines = until(lambda: _access(registry) if any(each["action"] == "sites" for each in _access(registry)) else None)
    told = {(each["action"], each.get("client"), each["outcome"], each["status"]) for each in lines}
    assert {
        ("heartbeat", "hospitals/logged", "Done", 200),
        ("heartbeat", None, "Unauthorized", 401),
        ("sites", "reader", "Done", 200),
    } <= told
    assert {each["registry"] for each in lines} == {registry.table}
    secrets = (heartbeat_token(KEY, "hospitals/logged"), reader_token(KEY), KEY.hex(), "f" * 64)
    assert [secret for secret in secrets if secret in registry.log] == []


def _access(registry):
    lines = registry.log.rpartition("\n")[0].splitlines()  # the last may be in the making
    return [json.loads(line) for line in lines if '"fedloom.access"' in line and '"action"' in line]


def test_a_site_that_floods_costs_one_write(registry, http):
    before = registry.metric('fedloom_registry_heartbeats_total{result="Written"}')
    for _ in range(50):
        assert registry.heartbeat(http, "hospitals/flood").status_code == 200
    assert registry.metric('fedloom_registry_heartbeats_total{result="Written"}') == before + 1


OTHERS = {
    "no token": "x",
    "zeros": "0" * 64,
    "another site's": heartbeat_token(KEY, "hospitals/a"),
    "of a generation to come": heartbeat_token(KEY, "hospitals/b", 1),
    "a reader's": reader_token(KEY),
    "of another installation": heartbeat_token(bytes(32), "hospitals/b"),
}


@pytest.mark.parametrize("whose", OTHERS)
def test_the_token_of_somebody_else_is_refused(registry, http, moto, whose):
    answer = registry.heartbeat(http, "hospitals/b", OTHERS[whose])
    assert answer.status_code == 401
    assert ("no token" if whose == "no token" else "not that of 'hospitals/b'") in answer.json()["message"]
    assert item(moto, registry, "hospitals/b") is None


def test_a_token_is_revoked_and_replaced_without_a_restart(registry, http):
    assert registry.heartbeat(http, "hospitals/stolen").status_code == 200
    registry.generations.write_text(json.dumps({"hospitals/stolen": 1}))
    until(lambda: registry.heartbeat(http, "hospitals/stolen").status_code == 401)
    assert registry.heartbeat(http, "hospitals/stolen", heartbeat_token(KEY, "hospitals/stolen", 1)).status_code == 200
    registry.generations.write_text("[not json")
    until(lambda: "generations of tokens cannot be read" in registry.log)
    assert registry.heartbeat(http, "hospitals/stolen").status_code == 401, "what was read last stays in force"
    registry.generations.write_text("{}")


def test_only_a_reader_sees_all_sites(registry, http):
    for token in ("x", heartbeat_token(KEY, "hospitals/a"), "0" * 64):
        answer = http.get("/sites", headers={"authorization": f"Bearer {token}"})
        assert (answer.status_code, "sites" in answer.json()) == (401, False)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422), (b"{", 422), (b"[]", 422), (b'{"client_id": 7}', 422), (b"\xff\xfe", 422),
        (b'{"client_id": "hospitals/a", "admin": true}', 422),
        (b'{"client_id": "../../etc/passwd"}', 422),
        (b'{"client_id": "Hospitals/A"}', 422),
        (b'{"client_id": "' + b"a" * 400 + b'/a"}', 422),
        (b'{"client_id": "hospitals/a", "capability": {"cpu": "-1"}}', 422),
        (b'{"client_id": "hospitals/a", "capability": {"cpu": "1e999"}}', 422),
        (b'{"client_id": "hospitals/a", "capability": {"accelerator": "' + b"x" * 64 + b'"}}', 422),
        (b'{"client_id": "hospitals/a", "labels": {"k": "no spaces"}}', 422),
        (b'{"client_id": "hospitals/a", "labels": ' + json.dumps({f"k{n}": "v" for n in range(300)}).encode() + b"}", 422),
        (b" " * 9000 + b"{}", 413),
        (b"[" * 8000, 422),
    ],
)  # fmt: skip
def test_what_is_no_heartbeat_is_refused(registry, http, body, status):
    headers = {"authorization": f"Bearer {heartbeat_token(KEY, 'hospitals/a')}"}
    answer = http.post("/heartbeat", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"] in ("Malformed", "TooLarge")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/heartbeat", 405), ("POST", "/sites", 405), ("GET", "/", 404), ("GET", "/heartbeat/../sites", 404)],
)
def test_what_is_no_route_is_refused(registry, http, method, path, status):
    assert http.request(method, path).status_code in (status, 401)


def test_idle_and_plain_connections_do_not_keep_sites_out(registry, http):
    port = int(registry.url.rpartition(":")[2])
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(600)]
    try:
        for each in held[:50]:
            each.send(b"POST /heartbeat HTTP/1.1\r\nhost: h\r\n\r\n")
        with registry.client() as fresh:
            assert registry.heartbeat(fresh, "hospitals/honest").status_code == 200
    finally:
        for each in held:
            each.close()


def test_many_sites_at_once(registry, http):
    failures = []

    def beat(first):
        with registry.client() as own:
            sites = [f"crowd/site-{number:03d}" for number in range(first, 200, 8)]
            answers = [registry.heartbeat(own, site, capability=CAPABILITY).status_code for site in sites]
            failures.extend(code for code in answers if code != 200)

    threads = [threading.Thread(target=beat, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    crowd = lambda: [name for name in registry.sites(http) if name.startswith("crowd/")]  # noqa: E731
    until(lambda: len(crowd()) == 200)


def test_an_outage_of_the_table_is_told_and_passes(tmp_path):
    with moto_server.serving(tmp_path / "moto") as own:
        credentials = own.credentials(tmp_path / "credentials")
        with running(tmp_path / "registry", own.endpoint, credentials) as started, started.client() as http:
            assert started.heartbeat(http, "ns/a").status_code == 200
            own.process.end()
            answer = started.heartbeat(http, "ns/b")
            assert (answer.status_code, answer.json()["code"]) == (503, "Busy")
            reader = {"authorization": f"Bearer {reader_token(KEY)}"}
            until(lambda: http.get("/sites", headers=reader).status_code == 503)
            own.process.restart()  # with an empty memory: the table is gone as well
            client = own.client("dynamodb")
            client.create_table(
                TableName=started.table,
                KeySchema=[{"AttributeName": "ClientID", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "ClientID", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
            client.close()
            until(lambda: started.heartbeat(http, "ns/b").status_code == 200)
            assert until(lambda: started.sites(http).keys() >= {"ns/b"})


def test_a_table_that_does_not_fit_ends_the_process(moto, tmp_path):
    credentials = moto.credentials(tmp_path / "credentials")
    with running(tmp_path / "r", moto.endpoint, credentials, ready=False, create_table="false") as started:
        assert started.process.wait(PATIENCE_S) == 19
        assert "does not exist" in started.log


def test_no_token_and_no_key_is_ever_logged(registry):
    assert heartbeat_token(KEY, "hospitals/a") not in registry.log
    assert KEY.hex() not in registry.log
