"""An aggregator's certificate is renewed at two thirds of its life, by whoever acts then, in a Secret that nobody reads."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from fedapi import names
from fedlocal import key_store
from fedlocal.cluster import Cluster
from fedlocal.statefolder import StateFolder
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.decide.decision import SecretRequest
from fedoperator.errors import RefusedError, RetryLaterError
from fedoperator.key_material import RENEWED_AFTER, SERVER_LIFETIME, Keys

MADE = datetime(2027, 1, 1, tzinfo=UTC)
KEYS = Keys.generated(MADE)
AGGREGATOR = SecretRequest("job-aggregator-1", "Aggregator", {}, {}, hosts=("localhost",))
SITE = SecretRequest("job-site-1", "Site", {}, {}, client="a")


class Api:
    """Secrets by path. `refuses`: as with the rights of an older chart."""

    def __init__(self):
        self.secrets, self.requests, self.refuses = {}, [], False

    def request(self, method, path, body=None, **_):
        self.requests.append(method)
        if method == "GET":
            return {"data": {name: base64.b64encode(value).decode() for name, value in KEYS.files().items()}}
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.secrets:
                raise RetryLaterError("exists", conflict=True)
            self.secrets[path] = dict(body["data"])
            return body
        assert method == "PATCH"
        if self.refuses:
            raise RefusedError("forbidden", 403)
        self.secrets[path] |= body["data"]
        return body


class World:
    def __init__(self):
        self.api, self.now = Api(), MADE
        self.restart()

    def restart(self):
        self.store = SecretStore(self.api, "system", "keys", lambda: self.now, lambda *_: None)

    def look(self):
        """What a pass does with what decide asks for."""
        self.api.requests.clear()
        for request in (AGGREGATOR, SITE):
            if request.name not in self.store.known("uid"):
                self.store.make(request, "ns", "uid", MADE)
        return self.api.requests

    def secret(self):
        return next(data for path, data in self.api.secrets.items() if "aggregator" in path)

    def ends(self):
        pem = base64.b64decode(self.secret()[names.FILE_TLS_CERT])
        return x509.load_pem_x509_certificate(pem).not_valid_after_utc


@pytest.mark.parametrize("restarts", [False, True])
def test_it_is_renewed_in_time_and_nothing_else_is_changed(restarts):
    world = World()
    world.look()
    before = dict(world.secret())
    world.now = MADE + RENEWED_AFTER - timedelta(hours=1)
    if restarts:
        world.restart()
    assert "PATCH" not in world.look()
    assert world.secret() == before
    world.now = MADE + RENEWED_AFTER + timedelta(hours=1)
    if restarts:
        world.restart()
    assert "PATCH" in world.look()
    assert world.ends() == world.now + SERVER_LIFETIME
    changed = {name for name, value in world.secret().items() if before[name] != value}
    assert changed == {names.FILE_TLS_CERT, names.FILE_TLS_KEY}
    assert world.look() == [], "at rest nothing is sent"
    world.now += RENEWED_AFTER
    assert "PATCH" in world.look()
    assert world.ends() == world.now + SERVER_LIFETIME


def test_without_the_right_to_renew_the_job_goes_on_and_it_is_tried_again():
    world = World()
    world.look()
    world.api.refuses, world.now = True, MADE + RENEWED_AFTER
    assert "PATCH" in world.look()
    assert AGGREGATOR.name in world.store.known("uid"), "workloads do not wait for it"
    assert world.look() == []
    world.api.refuses, world.now = False, world.now + timedelta(hours=1)
    assert "PATCH" in world.look()
    assert world.ends() == world.now + SERVER_LIFETIME


def test_the_embedded_runner_renews_it_too(tmp_path):
    now = [MADE]
    cluster, state = Cluster("ns", lambda: None, lambda: now[0]), StateFolder(tmp_path)
    for request in (AGGREGATOR, SITE):
        cluster.secrets[request.name] = key_store.make(request, state, KEYS, "uid", now[0])
    assert cluster.lasting_secrets() == {AGGREGATOR.name, SITE.name}
    now[0] = MADE + RENEWED_AFTER
    assert cluster.lasting_secrets() == {SITE.name}
    cluster.secrets[AGGREGATOR.name] = key_store.make(AGGREGATOR, state, KEYS, "uid", now[0])
    assert AGGREGATOR.name in cluster.lasting_secrets()
    pem = (state.secret(AGGREGATOR.name) / names.FILE_TLS_CERT).read_bytes()
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == now[0] + SERVER_LIFETIME
