"""Updates that are encrypted at the sites, over a volume: the same model as without, and what is wrong with one is named."""

import os

import pytest

from fedapi.wire.ciphertext import KEMS
from fedapi.wire.encryption import HubKey
from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.site import NextRequest
from tests.integration.fedaggregator.harness import (
    JOB_KEY,
    Aggregator,
    JobFolder,
    Site,
    config,
    run_sites,
    save,
    scripted_update,
    until,
)
from tests.integration.fedaggregator.test_damaged_store import changed, finish, object_of, with_one_accepted

CLIENTS = ("a", "b")
HYBRID = "MLKEM768X25519"
BY_URL = {"FEDLOOM_HTTP_INLINE_BYTES": "0"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The models of an undisturbed job whose updates are not encrypted."""
    job = JobFolder(tmp_path_factory.mktemp("plain"), config(CLIENTS, rounds=2))
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("env", [{}, BY_URL], ids=["inline", "by-url"])
def test_a_job_with_encryption_makes_the_same_model(tmp_path, plain, kem, env):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2, encryption=kem), extra_env=env)
    sites = [Site(job, "a", samples=10), Site(job, "b", samples=15)]
    with Aggregator(job).ready():
        for site in sites:
            site.next(0.0)
        order = sites[0].next().train
        assert order.encryption.public_key == HubKey(JOB_KEY).recipient(kem).public_key
        update = save(scripted_update(job.model, "a", order))
        assert sites[0].upload(order, sites[0].encrypted(order, update)).status_code == 200
        kept = object_of(job, "updates/*/*/a/*.safetensors.enc")
        assert kept.name.startswith("client_a_round_1-")
        assert update[-64:] not in kept.read_bytes(), "the store sees no number of it"
        finish(job, sites)
    assert [commit.model.sha256 for commit in job.commits()] == plain
    assert not list((job.root / "store").glob("updates/*/*/*/*.enc")), "deleted with the round"


def test_a_restarted_aggregator_reads_what_was_encrypted_to_the_one_before(tmp_path, plain):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2, encryption=HYBRID))
    sites = with_one_accepted(job)
    with Aggregator(job).ready():
        finish(job, sites)
    assert [commit.model.sha256 for commit in job.commits()] == plain
    assert sites[0].trained == [(1, 1), (2, 1)]


def test_a_site_is_asked_again_for_an_encrypted_update_that_rots(tmp_path, plain):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=2, encryption=HYBRID))
    sites = with_one_accepted(job)
    damaged = object_of(job, "updates/*/*/a/*.safetensors.enc")
    changed(damaged)
    with Aggregator(job).ready() as aggregator:
        finish(job, sites)
        assert str(damaged.relative_to(tmp_path / "store")) in aggregator.log()
    assert [commit.model.sha256 for commit in job.commits()] == plain
    assert sites[0].trained == [(1, 1), (1, 1), (2, 1)]


def cut(data: bytes) -> bytes:
    return data[:-1]


def flipped(data: bytes) -> bytes:
    return data[:-20] + bytes([data[-20] ^ 1]) + data[-19:]


@pytest.fixture
def job(tmp_path):
    """Round 1 is open to site a, which is told to encrypt."""
    job = JobFolder(tmp_path, config(("a",), rounds=1, encryption="X25519"))
    with Aggregator(job).ready():
        yield job


def order_of(site: Site):
    site.next(0.0)
    return site.next().train


@pytest.mark.parametrize("by_url", [False, True], ids=["inline", "by-url"])
@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda site, order, update: update, "not encrypted: no header of Fedloom's"),
        (lambda site, order, update: cut(site.encrypted(order, update)), "chunk 1 of 1 is not its last one"),
        (lambda site, order, update: flipped(site.encrypted(order, update)), "chunk 1 of 1 is not its last one"),
        (lambda site, order, update: site.encrypted(order.model_copy(update={"round": 2}), update), "another job, round"),
        (lambda site, order, update: site.encrypted(to_another_job(order), update), "sealed to another aggregator"),
        (lambda site, order, update: site.encrypted(order, b"no tensors"), "not a safetensors file"),
    ],
    ids=["plain", "cut", "flipped", "of-another-round", "key-of-another-job", "no-tensors"],
)  # fmt: skip
def test_what_cannot_be_decrypted_is_refused_by_name(job, made, told, by_url):
    site = Site(job, "a")
    order = order_of(site)
    data = made(site, order, save(scripted_update(job.model, "a", order)))
    answer = (site.put if by_url else site.upload)(order, data)
    assert (answer.status_code, answer.json()["code"]) == (422, "Malformed")
    assert told in answer.json()["message"]
    until(lambda: told in job.status()["clients"][0]["message"], not_yet=(KeyError,))


def to_another_job(order):
    recipient = HubKey(os.urandom(32)).recipient("X25519")
    return order.model_copy(
        update={"encryption": order.encryption.model_copy(update={"public_key": recipient.public_key})}
    )


def test_an_update_that_says_it_is_not_encrypted_is_refused_before_it_is_read(job):
    site = Site(job, "a")
    order = order_of(site)
    answer = site.upload(order.model_copy(update={"encryption": None}), save(scripted_update(job.model, "a", order)))
    assert answer.json()["code"] == "Malformed"
    assert "payloads.update is not encrypted, round 1 asks for X25519" in answer.json()["message"]


def test_a_trainer_that_cannot_encrypt_is_told_so(job):
    site = Site(job, "a")
    without = tuple(feature for feature in FEATURES if feature != "encryption")
    asked = NextRequest(wait_s=0, protocol=PROTOCOL, oldest_protocol=OLDEST_AT_SITE, features=without)
    answer = site.post("next", asked)
    assert answer.json()["code"] == "Incompatible"
    assert "cannot do storage.clientEncryption: build its task image" in answer.json()["message"]
    until(lambda: job.status()["clients"][0]["state"] == "Incompatible", not_yet=(KeyError,))


def test_a_changed_switch_acts_at_the_next_round_and_the_plan_under_way_stays(tmp_path):
    job = JobFolder(tmp_path, config(("a",), rounds=2, encryption="X25519"))
    with Aggregator(job).ready():
        site = Site(job, "a")
        order = order_of(site)
        job.write_config(job.config.model_copy(update={"encryption": None}))
        assert site.take_part(order).status_code == 200
        following = site.next().train
        assert (following.round, following.encryption) == (2, None)
        finish(job, [site])
    assert [commit.round for commit in job.commits()] == [0, 1, 2]
