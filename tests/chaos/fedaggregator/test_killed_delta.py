"""kill -9, and rot, around models that come as deltas: the same models as undisturbed, and none of it is left."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.wire.compression import Encoding
from tests.chaos.fedaggregator.test_killed_broadcast import (
    CLIENTS,
    DIE_AT,
    changed,
    finish,
    goes_on_after_a_kill,
    models,
    on_their_way,
)
from tests.integration.fedaggregator.following import Following, trained
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, run_sites

TOPK = Encoding(codec="TopK", fraction=0.1)
MODEL = {"w": np.linspace(-1, 1, 1600, dtype=np.float32).reshape(40, 40), "b": np.arange(3, dtype=np.float32)}
POINTS = [
    ("before the delta is there", "fedstore.disk:DiskStore.link", "before", 1, "broadcast"),
    ("between the delta and what it makes", "fedstore.disk:DiskStore.link", "before", 2, "broadcast"),
    ("as soon as both are there", "fedstore.disk:DiskStore.link", "after", 2, "broadcast"),
    ("once it is made, before its plan", "fedaggregator.engine.interpreter:Interpreter.encode", "after", 2),
    ("after its plan", "fedaggregator.engine.interpreter:Interpreter.write_plan", "after", 2),
    ("in mid-fold", "fedcore.strategies.folding:folded", "after", 2),
    ("after HEAD", "fedaggregator.engine.interpreter:Interpreter.move_head", "after", 3),
]


def job_of(folder, rounds=4, **values) -> JobFolder:
    return JobFolder(folder, config(CLIENTS, rounds=rounds, download=TOPK, download_delta=True, **values), model=MODEL)


def sites_of(job):
    return [Following(job, client, samples=10 + 5 * i, train=trained) for i, client in enumerate(CLIENTS)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = job_of(tmp_path_factory.mktemp("undisturbed"))
    with Aggregator(job).ready():
        sites = run_sites(job, kind=Following, train=trained)
    assert [(site.wholes, site.made) for site in sites] == [(1, 3)] * 2
    found = models(job)
    assert len(set(found)) == 5
    references = [commit.reference and commit.reference.sha256 for commit in job.commits()]
    assert references[:2] == [None, found[0]]
    assert not {*references[2:]} & {*found}, "a model of its own, which sites have"
    return found


@pytest.mark.parametrize("call", [[*map(str, p[1:])] for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, undisturbed, call):
    job = job_of(tmp_path)
    sites = sites_of(job)
    goes_on_after_a_kill(job, sites, call, undisturbed)


def test_a_site_that_has_lost_its_model_fetches_the_whole(tmp_path, undisturbed):
    job = job_of(tmp_path)
    sites = sites_of(job)
    sites[0].forgets = frozenset({3})
    with Aggregator(job).ready():
        finish(job, [site.start() for site in sites], sites)
    assert models(job) == undisturbed
    assert [(site.wholes, site.made) for site in sites] == [(2, 2), (1, 3)]


def test_a_site_that_missed_rounds_fetches_the_whole(tmp_path):
    job = job_of(tmp_path, rounds=6, policy="Random", per_round=1, min_available=2)
    sites = sites_of(job)
    with Aggregator(job).ready():
        finish(job, [site.start() for site in sites], sites)
    took = [commit.participants[0].client for commit in job.commits()[1:]]
    assert len(set(took)) == 2
    missed = {client: sum(took[n] == client and took[n - 1] != client for n in range(1, 6)) for client in CLIENTS}
    first = {client: int(took[0] == client) for client in CLIENTS}
    assert {site.client: site.wholes for site in sites} == {c: missed[c] + first[c] for c in CLIENTS}
    assert sum(site.made + site.wholes for site in sites) == 6


def reach_round(sites, number):
    """Both sites take part until the round of that number is planned; the order of the first site in it."""
    for site in sites:
        site.next(0.0)
    while True:
        order = sites[0].next().train
        if order.round == number:
            return order
        for site in sites:
            site.step()


@pytest.mark.parametrize("rot", [changed, Path.unlink], ids=["changed", "gone"])
@pytest.mark.parametrize("down", [True, False], ids=["while down", "while up"])
@pytest.mark.parametrize("which", ["delta", "whole"])
def test_what_is_damaged_of_a_round_under_way_is_made_again(tmp_path, undisturbed, rot, down, which):
    job = job_of(tmp_path)
    sites = sites_of(job)
    with Aggregator(job).ready():
        order = reach_round(sites, 3)
        said = order.reference.delta.file if which == "delta" else order.model
        (path,) = (each for each in on_their_way(job) if said.sha256 in each.name)
        whole = path.read_bytes()
        if not down:
            rot(path)
            sites[0].fail(order, "UpdateRefused", "WrongDigest: the model's bytes have another SHA-256")
            assert path.read_bytes() == whole
    if down:
        rot(path)
        with Aggregator(job).ready():
            assert path.read_bytes() == whole
    with Aggregator(job).ready():
        finish(job, [site.start() for site in sites], sites)
    assert models(job) == undisturbed


def test_a_reference_that_is_lost_between_two_rounds_costs_one_whole_model(tmp_path):
    """As of a job that was restored: no commit needs it, and no backup has it."""
    job = job_of(tmp_path)
    sites = sites_of(job)
    point = ("fedaggregator.engine.interpreter:Interpreter.move_head", "after", "4")
    with Aggregator(job, DIE_AT, *point) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    for path in on_their_way(job):
        path.unlink()
    with Aggregator(job).ready() as again:
        finish(job, threads, sites)
    assert "what sites have cannot be read, so that the next model goes to them as it is" in again.log()
    assert len(job.commits()) == 5
    assert job.commits()[4].reference.sha256 == models(job)[3]


@pytest.mark.parametrize("down", [True, False], ids=["while down", "while up"])
def test_all_that_is_not_committed_may_be_lost_in_mid_round(tmp_path, down):
    job = job_of(tmp_path)
    sites = sites_of(job)
    with Aggregator(job).ready():
        order = reach_round(sites, 3)
        there = on_their_way(job)
        assert len(there) == 4, (
            "of the round before, which may still be read, and of this one: a delta, and what it makes"
        )
        for path in there if not down else ():
            path.unlink()
        if not down:
            sites[0].fail(order, "UpdateRefused", "WrongDigest: the model's bytes have another SHA-256")
    for path in there if down else ():
        path.unlink()
    with Aggregator(job).ready():
        finish(job, [site.start() for site in sites], sites)
    assert len(job.commits()) == 5
    third = job.commits()[3]
    assert (third.attempt, third.reference.sha256) == (2, models(job)[2])
    assert on_their_way(job) == []


def test_the_codec_may_change_in_mid_job_and_deltas_may_end(tmp_path):
    job = job_of(tmp_path, rounds=9)
    sites = sites_of(job)
    with Aggregator(job).ready():
        assert reach_round(sites, 2).reference.delta.encoding == TOPK
        for encoding, delta in ((Encoding(codec="Int4"), True), (Encoding(codec="Float16"), False)):
            job.write_config(job.config.model_copy(update={"download": encoding, "download_delta": delta}))
            while codec_of(order := sites[0].next().train) != encoding:
                for site in sites:
                    site.step()
        assert load(sites[0].download(order.model))["w"].dtype == np.float16
    assert sites[0].wholes == 1


def codec_of(order):
    return order.encoded.encoding if order.encoded else order.reference.delta.encoding
