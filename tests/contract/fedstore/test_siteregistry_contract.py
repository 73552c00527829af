"""One suite for every registry of sites: newest wins, one write a minute, expiry without help of the medium."""

import threading
from itertools import permutations
from uuid import uuid4

import pytest

from fedapi.names import SITE_EXPIRES_S
from fedapi.wire.registry import Capability, Claims
from fedstore.dynamodb import DynamoSites
from fedstore.errors import StoreFailedError, UnfitStoreError
from fedstore.memory_sites import MemorySites

NOW = 1_800_000_000.0
SMALL = Claims(capability=Capability(cpu="4", memory="16Gi"))
LARGE = Claims(
    capability=Capability(cpu="64", memory="512Gi", accelerator="nvidia.com/gpu x8"),
    organization="Charité",
    labels={"country": "de"},
)


@pytest.fixture
def table(moto, tmp_path):
    name = f"sites-{uuid4().hex[:8]}"
    opened = DynamoSites.open(name, "us-east-1", moto.endpoint, moto.credentials(tmp_path / "credentials"))
    opened.create()
    yield opened
    opened.close()


@pytest.fixture
def client(moto):
    made = moto.client("dynamodb")
    yield made
    made.close()


@pytest.fixture(params=["memory", "dynamodb"])
def registry(request):
    return MemorySites() if request.param == "memory" else request.getfixturevalue("table")


def last_seen(registry):
    return {site.client_id: site.last_seen for site in registry.sites()}


def test_what_a_site_says_is_kept(registry):
    assert list(registry.sites()) == []
    assert registry.heard("ns/a", LARGE, NOW)
    assert registry.heard("ns/b", SMALL, NOW)
    found = {site.client_id: site for site in registry.sites()}
    assert (found["ns/a"].claims, found["ns/b"].claims) == (LARGE, SMALL)
    assert registry.heard("ns/a", SMALL, NOW + 61)
    assert next(site.claims for site in registry.sites() if site.client_id == "ns/a") == SMALL


def test_a_site_costs_one_write_a_minute(registry):
    written = [second for second in range(0, 301, 10) if registry.heard("ns/a", SMALL, NOW + second)]
    assert written == [0, 60, 120, 180, 240, 300]


@pytest.mark.parametrize("order", [*permutations((0, 100, 200))])
def test_an_older_heartbeat_never_replaces_a_newer_one(registry, order):
    for second in order:
        registry.heard("ns/a", LARGE if second == 200 else SMALL, NOW + second)
    assert last_seen(registry) == {"ns/a": NOW + 200}
    assert next(iter(registry.sites())).claims == LARGE


def test_of_many_at_once_one_is_written(registry):
    written, begin = [], threading.Barrier(8)

    def beat():
        begin.wait()
        written.append(registry.heard("ns/a", SMALL, NOW))

    threads = [threading.Thread(target=beat) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written.count(True) == 1


def test_states_follow_the_clock(registry):
    registry.heard("ns/a", SMALL, NOW)
    (site,) = registry.sites()
    states = {0: "Active", 299: "Active", 300: "Inactive", SITE_EXPIRES_S - 1: "Inactive", SITE_EXPIRES_S: "Expired"}
    assert {after: site.state(NOW + after) for after in states} == states


def test_the_expired_go_and_the_silent_stay(registry):
    registry.heard("ns/old", SMALL, NOW - SITE_EXPIRES_S)
    registry.heard("ns/silent", SMALL, NOW - 400)
    registry.heard("ns/here", SMALL, NOW)
    kept = registry.settle(NOW)
    assert {site.client_id for site in kept} == {"ns/silent", "ns/here"}
    assert last_seen(registry) == {"ns/silent": NOW - 400, "ns/here": NOW}
    assert registry.heard("ns/old", SMALL, NOW), "it comes back"
    registry.settle(NOW)
    assert set(last_seen(registry)) == {"ns/old", "ns/silent", "ns/here"}


class Counted:
    """A client that counts calls and, before one of them, lets something else happen."""

    def __init__(self, client):
        self.calls, self._client, self.before = [], client, {}

    def __getattr__(self, name):
        def call(**what):
            self.calls.append(name)
            if act := self.before.pop(name, None):
                act()
            return getattr(self._client, name)(**what)

        return call


@pytest.fixture
def counted(table, client):
    counting = Counted(client)
    return table, DynamoSites(table._table, lambda: counting), counting


def test_of_two_processes_the_second_asks_once_and_then_knows(counted):
    first, second, client = counted
    assert first.heard("ns/a", SMALL, NOW)
    for seconds in (1, 20, 40, 59):
        assert not second.heard("ns/a", SMALL, NOW + seconds)
    assert client.calls == ["put_item"], "the refusal said what is there"
    assert second.heard("ns/a", SMALL, NOW + 60)


def test_settling_writes_on_transitions_alone(counted):
    first, second, client = counted
    first.heard("ns/a", SMALL, NOW)
    for at in (NOW, NOW + 400, NOW + 500):
        second.settle(at)
    assert client.calls == ["scan", "scan", "update_item", "scan"]
    assert client.get_item(TableName=first._table, Key={"ClientID": {"S": "ns/a"}})["Item"]["Status"] == {
        "S": "Inactive"
    }
    first.heard("ns/a", SMALL, NOW + 600)
    assert client.get_item(TableName=first._table, Key={"ClientID": {"S": "ns/a"}})["Item"]["Status"] == {"S": "Active"}


@pytest.mark.parametrize(("call", "later"), [("update_item", 400), ("delete_item", SITE_EXPIRES_S)])
def test_a_heartbeat_between_look_and_settling_wins(counted, call, later):
    first, second, client = counted
    first.heard("ns/a", SMALL, NOW)
    client.before[call] = lambda: first.heard("ns/a", LARGE, NOW + later)
    second.settle(NOW + later)
    (site,) = first.sites()
    assert (site.last_seen, site.claims) == (NOW + later, LARGE)


def test_more_than_a_page_is_read(counted):
    first, second, client = counted
    small = client._client
    client._client = type("Paged", (), {"scan": lambda _, **what: small.scan(**what, Limit=2)})()
    for number in range(5):
        first.heard(f"ns/s{number}", SMALL, NOW)
    assert len(list(second.sites())) == 5
    assert client.calls == ["scan"] * 3


def test_what_somebody_wrote_by_hand_does_not_hide_the_others(counted):
    first, second, client = counted
    first.heard("ns/a", SMALL, NOW)
    for broken in (
        {},
        {"LastSeen": {"N": "1"}, "Capability": {"M": {"cpu": {"S": "many"}}}},
        {"LastSeen": {"S": "now"}},
    ):
        client.put_item(TableName=first._table, Item={"ClientID": {"S": f"ns/{len(broken)}{list(broken)}"}} | broken)
    assert last_seen(second) == {"ns/a": NOW}
    second.settle(NOW)


def test_a_table_that_does_not_fit_is_named(client):
    absent = DynamoSites("none-such", lambda: client)
    with pytest.raises(UnfitStoreError, match="table none-such does not exist: make it"):
        absent.check()
    with pytest.raises(StoreFailedError, match="ResourceNotFound"):
        absent.heard("ns/a", SMALL, NOW)
    name = f"sites-{uuid4().hex[:8]}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "ClientID", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "ClientID", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    table = DynamoSites(name, lambda: client)
    with pytest.raises(UnfitStoreError, match="no time to live on ExpiryTime"):
        table.check()
    client.put_item(TableName=name, Item={"ClientID": {"S": "somebody's"}})
    table.create()  # it is in use: nothing is changed
    with pytest.raises(UnfitStoreError):
        table.check()
    client.delete_item(TableName=name, Key={"ClientID": {"S": "somebody's"}})
    table.create()  # as a registry leaves it that is killed while it makes the table
    table.check()


def test_an_empty_table_of_somebody_else_stays_as_it_is(client):
    name = f"theirs-{uuid4().hex[:8]}"
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "Order", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Order", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(UnfitStoreError, match="it must be ClientID"):
        DynamoSites(name, lambda: client).create()
    ttl = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "DISABLED"


def test_a_table_that_was_made_fits(table):
    table.create()
    table.check()


def test_an_endpoint_that_is_away_is_a_failure_to_be_tried_again(moto, tmp_path):
    away = DynamoSites.open("t", "us-east-1", "http://127.0.0.1:9", moto.credentials(tmp_path))
    with pytest.raises(StoreFailedError, match="table t"):
        away.heard("ns/a", SMALL, NOW)
    away.close()
