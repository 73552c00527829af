"""The certificates of a job's processes are renewed at two thirds of its life, by whoever acts then, in a Secret that nobody reads."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from fedapi import names
from fedlocal import key_store
from fedlocal.cluster import Cluster
from fedlocal.statefolder import StateFolder
from fedoperator.certificates import LIFETIME, LONGEST, SHORTEST, renewed_after
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.decide.decision import SecretRequest
from fedoperator.errors import GoneError, RefusedError, RetryLaterError
from fedoperator.key_material import Keys

MADE = datetime(2027, 1, 1, tzinfo=UTC)
RENEWED_AFTER = renewed_after(LIFETIME)
KEYS = Keys.generated(MADE)
AGGREGATOR = SecretRequest("job-aggregator-1", "Aggregator", {}, {}, hosts=("localhost",))
SITE = SecretRequest("job-site-1", "Site", {}, {}, client="a")


class Api:
    """Secrets by path. `refuses`: as with the rights of an older chart. `gone`: deleted once a patch comes."""

    def __init__(self):
        self.secrets, self.annotations, self.requests, self.refuses, self.gone = {}, {}, [], False, False

    def request(self, method, path, body=None, *, query=None, **_):
        self.requests.append(method)
        if method == "GET":
            return {"data": {name: base64.b64encode(value).decode() for name, value in KEYS.files().items()}}
        if method == "POST":
            path = f"{path}/{body['metadata']['name']}"
            if path in self.secrets:
                raise RetryLaterError("exists", conflict=True)
            self.secrets[path] = dict(body["data"])
            self.annotations[path] = dict(body["metadata"].get("annotations", {}))
            return body
        assert method == "PATCH"
        if self.refuses:
            raise RefusedError("forbidden", 403)
        if self.gone:
            self.gone = not self.secrets.pop(path)
            raise GoneError("not found")
        if query.get("dryRun") != "All":
            self.requests.append("written")
            self.secrets[path] |= body["data"]
            self.annotations[path] |= body["metadata"]["annotations"]
        return {"metadata": {"annotations": self.annotations[path]} if self.annotations[path] else {}}


class World:
    def __init__(self):
        self.api, self.now = Api(), MADE
        self.restart()

    def restart(self, lifetime=LIFETIME):
        self.store = SecretStore(self.api, "system", "keys", lambda: self.now, lambda *_: None, lifetime=lifetime)

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

    def renews(self):
        return "written" in self.look()


@pytest.mark.parametrize("restarts", [False, True])
def test_it_is_renewed_in_time_and_nothing_else_is_changed(restarts):
    world = World()
    world.look()
    before = dict(world.secret())
    world.now = MADE + RENEWED_AFTER - timedelta(hours=1)
    if restarts:
        world.restart()
    assert "written" not in world.look()
    assert world.secret() == before
    world.now = MADE + RENEWED_AFTER + timedelta(hours=1)
    if restarts:
        world.restart()
    assert world.renews()
    assert world.ends() == world.now + LIFETIME
    changed = {name for name, value in world.secret().items() if before[name] != value}
    assert changed == {names.FILE_TLS_CERT, names.FILE_TLS_KEY}
    assert world.look() == [], "at rest nothing is sent"
    world.now += RENEWED_AFTER
    assert world.renews()
    assert world.ends() == world.now + LIFETIME


def test_without_the_right_to_renew_the_job_goes_on_and_it_is_tried_again():
    world = World()
    world.look()
    world.api.refuses, world.now = True, MADE + RENEWED_AFTER
    assert "PATCH" in world.look()
    assert AGGREGATOR.name in world.store.known("uid"), "workloads do not wait for it"
    assert world.look() == []
    world.api.refuses, world.now = False, world.now + timedelta(hours=1)
    assert world.renews()
    assert world.ends() == world.now + LIFETIME


@pytest.mark.parametrize("lost", [World.restart, lambda world: world.store.forget("uid")], ids=["restart", "forget"])
def test_what_was_renewed_or_made_late_is_not_renewed_because_the_operator_forgot_when(lost):
    world = World()
    world.look()
    world.now = MADE + RENEWED_AFTER
    assert world.renews()
    for _ in range(3):
        world.now += timedelta(hours=2)
        lost(world)
        before = dict(world.secret())
        assert world.look().count("PATCH") == 2, "one question to each Secret of the old job"
        assert world.secret() == before
        assert world.look() == []
    world.api.secrets.clear()  # by hand; the operator makes it anew
    lost(world)
    assert "written" not in world.look(), "it was made, not renewed"
    world.now += RENEWED_AFTER - timedelta(hours=1)
    lost(world)
    assert not world.renews()
    world.now += timedelta(hours=1)
    assert world.renews(), "and what is remembered of the question is the time of the live certificate"


@pytest.mark.parametrize("told", [None, "soon", "2099-01-01", "2099-01-01T00:00:00", "0001-01-01T00:00:00+00:00"])
def test_a_secret_that_does_not_say_when_is_renewed_once(told):
    world = World()
    world.look()
    annotations = {} if told is None else {names.ANNOTATION_CERTIFICATE_ENDS: told}
    world.api.annotations = {path: dict(annotations) for path in world.api.annotations}
    world.now = MADE + RENEWED_AFTER
    world.restart()
    assert world.renews()
    world.restart()
    assert not world.renews()


def test_one_that_is_deleted_meanwhile_is_made_at_the_next_look():
    world = World()
    world.look()
    world.now, world.api.gone = MADE + RENEWED_AFTER, True
    world.restart()
    with pytest.raises(RetryLaterError) as raised:
        world.look()
    assert raised.value.conflict
    world.look()
    assert world.ends() == world.now + LIFETIME


def test_the_embedded_runner_renews_it_too(tmp_path):
    now = [MADE]
    cluster, state = Cluster("ns", lambda: None, lambda: now[0]), StateFolder(tmp_path)
    for request in (AGGREGATOR, SITE):
        cluster.secrets[request.name] = key_store.make(request, state, KEYS, "uid", now[0])
    assert cluster.lasting_secrets() == {AGGREGATOR.name, SITE.name}
    now[0] = MADE + RENEWED_AFTER
    assert cluster.lasting_secrets() == set()
    cluster.secrets[AGGREGATOR.name] = key_store.make(AGGREGATOR, state, KEYS, "uid", now[0])
    assert AGGREGATOR.name in cluster.lasting_secrets()
    pem = (state.secret(AGGREGATOR.name) / names.FILE_TLS_CERT).read_bytes()
    assert x509.load_pem_x509_certificate(pem).not_valid_after_utc == now[0] + LIFETIME


def test_a_certificate_of_the_time_when_they_lived_a_year_is_replaced_and_a_site_without_one_gets_it():
    world = World()
    world.look()
    site = next(data for path, data in world.api.secrets.items() if "site" in path)
    token = site["token"]
    for name in (names.FILE_TLS_CERT, names.FILE_TLS_KEY):
        del site[name]
    for path in world.api.annotations:
        year = (MADE + timedelta(days=365)).isoformat()
        world.api.annotations[path] = {names.ANNOTATION_CERTIFICATE_ENDS: year} if "aggregator" in path else {}
    world.now = MADE + RENEWED_AFTER
    world.restart()
    assert world.look().count("written") == 2
    assert world.ends() == world.now + LIFETIME
    assert {names.FILE_TLS_CERT, names.FILE_TLS_KEY, names.FILE_CA} < set(site)
    assert site["token"] == token


@pytest.mark.parametrize(("certified", "has"), [(False, False), (True, True)])
def test_the_embedded_runners_sites_have_a_certificate_where_they_need_one(tmp_path, certified, has):
    """A connection with one is one site's; without, sites of one machine share processes."""
    state = StateFolder(tmp_path)
    key_store.make(replace(SITE, certified=certified), state, KEYS, "uid", MADE)
    assert (state.secret(SITE.name) / names.FILE_TLS_CERT).exists() is has


@pytest.mark.parametrize("lifetime", [SHORTEST, LIFETIME, LONGEST])
def test_the_lifetime_that_is_set(lifetime):
    world = World()
    world.restart(lifetime)
    world.look()
    assert world.ends() == MADE + lifetime
    world.now = MADE + renewed_after(lifetime) - timedelta(minutes=1)
    assert not world.renews()
    world.now += timedelta(minutes=1)
    assert world.renews()
    assert world.ends() == world.now + lifetime


@pytest.mark.parametrize(("before", "since"), [(SHORTEST, LONGEST), (LONGEST, SHORTEST), (LIFETIME, LONGEST)])
def test_a_lifetime_that_is_changed_acts_on_certificates_that_are_there(before, since):
    """A shorter one at once, a longer one before the old certificate ends: however it was set, nobody is left with an ended one."""
    world = World()
    world.restart(before)
    world.look()
    world.now = MADE + renewed_after(before)
    world.restart(since)
    assert world.renews()
    assert world.ends() == world.now + since
