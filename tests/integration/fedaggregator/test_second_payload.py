"""Updates with a second payload, over real HTTPS: taken, encrypted, refused, lost and found as the first is."""

import os

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.site import NextRequest
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import admission
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites, scripted_update
from tests.integration.fedaggregator.test_damaged_store import changed, finish, with_one_accepted

CLIENTS = ("a", "b")
SCAFFOLD = StrategySettings(name="SCAFFOLD", parameters={"learning_rate": 1.0})
BY_URL = {"FEDLOOM_HTTP_INLINE_BYTES": "0"}
LAYER = {"layer.weight": 12, "layer.bias": 3}


def job_of(folder, env=(), **values) -> JobFolder:
    return JobFolder(folder, config(CLIENTS, rounds=2, strategy=SCAFFOLD, **values), extra_env=dict(env))


def made(job: JobFolder) -> list[tuple[str, str | None]]:
    return [(commit.model.sha256, commit.hub_state and commit.hub_state.sha256) for commit in job.commits()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = job_of(tmp_path_factory.mktemp("undisturbed"))
    with Aggregator(job).ready():
        run_sites(job)
    return made(job)


@pytest.mark.parametrize("env", [{}, BY_URL], ids=["inline", "by-url"])
@pytest.mark.parametrize("kem", [None, "X25519"])
def test_a_job_makes_the_same_however_its_payloads_come(tmp_path, undisturbed, kem, env):
    job = job_of(tmp_path, env, encryption=kem)
    with Aggregator(job).ready():
        run_sites(job)
    assert made(job) == undisturbed
    assert not list((job.root / "store" / "updates").rglob("*.safetensors*")), "both are deleted with the round"


def test_the_hub_keeps_the_sum_of_all_changes(tmp_path, undisturbed):
    """As the scripted sites send them, made here once more."""
    job, sent = job_of(tmp_path), []

    class Told(Site):
        def control(self, update, order):
            change = super().control(update, order)
            sent.append((order.round, self.client, change))
            return change

    with Aggregator(job).ready():
        run_sites(job, kind=Told)
    kept = load(job.store.get(job.commits()[-1].hub_state.key))
    for name, value in kept.items():
        total = np.zeros_like(value)
        for _, _, change in sorted(sent, key=lambda each: each[:2]):
            total += change[name]
        assert np.array_equal(total, value)
    assert made(job) == undisturbed
    assert [set(p.payloads) for p in job.commits()[-1].participants] == [{"update", "control"}] * 2


def test_an_order_brings_what_the_hub_remembers_once_there_is_any(tmp_path):
    job = job_of(tmp_path)
    told = []

    class Told(Site):
        def take_part(self, order):
            told.append(
                (order.round, order.hub_state and order.hub_state.sha256, order.training.method.control_variates)
            )
            return super().take_part(order)

    with Aggregator(job).ready():
        finish(job, [Told(job, client) for client in CLIENTS])
    kept = job.commits()[1].hub_state.sha256
    assert sorted(told, key=lambda each: each[0]) == [(1, None, 2)] * 2 + [(2, kept, 2)] * 2


def controls(**changed_) -> dict[str, np.ndarray]:
    return {name: np.ones((items, 1), np.float32) for name, items in LAYER.items()} | changed_


# What is sent beside the update, and what is answered: code and words.
WRONG = [
    ({}, "Malformed", "payloads are update: send 'control' and 'update' and no other"),
    ({"control": controls(), "masks": controls()}, "Malformed", "payloads are control, masks, update"),
    ({"control": {"layer.weight": np.ones((12, 1), np.float32)}}, "WrongShape", "tensors missing: ['layer.bias']"),
    ({"control": controls(**{"layer.bias": np.ones(3, np.float32)})}, "WrongShape", "'layer.bias' is F32[3]"),
    ({"control": controls(**{"layer.bias": np.ones((3, 2), np.float32)})}, "WrongShape", "'layer.bias' is F32[3, 2]"),
    ({"control": controls(**{"layer.bias": np.full((3, 1), np.nan, np.float32)})}, "NotFinite", "layer.bias"),
    ({"control": None}, "Malformed", "not a safetensors file"),
]


@pytest.mark.parametrize("env", [{}, BY_URL], ids=["inline", "by-url"])
@pytest.mark.parametrize(("beside", "code", "words"), WRONG, ids=[row[2] for row in WRONG])
def test_what_is_no_such_payload_is_refused(tmp_path, env, beside, code, words):
    job = job_of(tmp_path, env)
    with Aggregator(job).ready():
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        order = sites[0].next().train
        files = {name: b"\0" * 64 if values is None else save(values) for name, values in beside.items()}
        answer = sites[0].upload(order, save(scripted_update(job.model, "a", order)), **files)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert words in answer.json()["message"]


def test_a_strategy_that_asks_for_none_takes_none(tmp_path):
    job = JobFolder(tmp_path, config(CLIENTS))
    with Aggregator(job).ready():
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        order = sites[0].next().train
        assert order.hub_state is None
        answer = sites[0].upload(order, save(scripted_update(job.model, "a", order)), control=save(controls()))
        assert "payloads are control, update: send 'update' and no other" in answer.json()["message"]


def test_one_that_was_encrypted_for_the_other_s_place_is_refused(tmp_path):
    job = job_of(tmp_path, encryption="X25519")
    with Aggregator(job).ready():
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        order = sites[0].next().train
        update, control = save(scripted_update(job.model, "a", order)), save(controls())
        answer = sites[0].upload(order, sites[0].encrypted(order, update), control=sites[0].encrypted(order, control))
        assert answer.status_code == 422
        assert "the update cannot be decrypted" in answer.json()["message"]


@pytest.mark.parametrize("kem", [None, "X25519"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_site_is_asked_again_when_either_rots(tmp_path, undisturbed, kem, which):
    job = job_of(tmp_path, encryption=kem)
    sites = with_one_accepted(job)
    payloads = sorted((job.root / "store").glob("updates/*/*/a/*.safetensors*"), key=lambda path: path.stat().st_size)
    assert len(payloads) == 2
    changed(payloads[which])
    with Aggregator(job).ready() as aggregator:
        finish(job, sites)
        assert payloads[which].name in aggregator.log()
    assert made(job) == undisturbed
    assert sites[0].trained == [(1, 1), (1, 1), (2, 1)]


def test_a_sum_that_rots_ends_the_process_by_name(tmp_path):
    job = job_of(tmp_path)
    with Aggregator(job).ready() as aggregator:
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        for site in sites:
            assert site.take_part(site.next().train).status_code == 200
        order = sites[0].next().train
        assert order.round == 2
    (kept,) = (path for path in (job.root / "store").glob("hubstate/*/*/*") if order.hub_state.sha256 in path.name)
    changed(kept)
    with Aggregator(job) as aggregator:
        aggregator.wait()
        assert kept.name in aggregator.log()
        assert "store repair" in aggregator.log()


def test_a_site_may_store_as_many_tries_as_with_one_payload(tmp_path):
    job = job_of(tmp_path, BY_URL)
    with Aggregator(job).ready():
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        order, answers = sites[0].next().train, []
        for _ in range(2 * admission.UPLOADS + 1):
            data = save({"x": np.frombuffer(os.urandom(64), np.uint8)})
            grant = sites[0].grant(order, data)
            answers.append(sites[0].http.put(grant.url, content=data).status_code)
        assert answers == [200] * 2 * admission.UPLOADS + [413]


def test_a_trainer_without_controls_is_told_by_name(tmp_path):
    job = job_of(tmp_path)
    lacking = tuple(feature for feature in FEATURES if feature != "control-variates")
    with Aggregator(job).ready():
        site = Site(job, "a")
        said = NextRequest(wait_s=0.0, protocol=PROTOCOL, oldest_protocol=OLDEST_AT_SITE, features=lacking)
        answer = site.post("next", said)
        assert answer.json()["code"] == "Incompatible"
        assert "cannot do strategy.name SCAFFOLD (control-variates): build its task image" in answer.json()["message"]
