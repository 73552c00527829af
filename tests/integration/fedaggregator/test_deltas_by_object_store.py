"""Models as deltas from a bucket: the models of a volume, also where a site has lost the one before and the hub is killed."""

from pathlib import Path

import numpy as np
import pytest

from fedapi.wire.compression import Encoding
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.following import Following, trained
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, run_sites
from tests.waiting import PATIENCE_S

DIE_AT = str(Path(__file__).parents[2] / "chaos" / "fedaggregator" / "die_at.py")
CLIENTS = ("a", "b")
BY_DELTA = {"rounds": 4, "download": Encoding(codec="TopK", fraction=0.1), "download_delta": True}
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
POINTS = [
    ("once a delta is made, before its plan", f"{INTERPRETER}.encode", "after", "2"),
    ("after its plan", f"{INTERPRETER}.write_plan", "after", "3"),
    ("after HEAD", f"{INTERPRETER}.move_head", "after", "4"),
]


def model():
    return {"w": np.linspace(-1, 1, 1600, dtype=np.float32).reshape(40, 40), "b": np.arange(3, dtype=np.float32)}


def models(job):
    return [commit.model.sha256 for commit in job.commits()]


def on_their_way(job):
    return [key for key in job.store.keys(f"{job.layout.models()}/") if key.endswith(".broadcast.safetensors")]


@pytest.fixture(scope="module")
def on_a_volume(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("volume"), config(CLIENTS, **BY_DELTA), model())
    with Aggregator(job).ready():
        run_sites(job, kind=Following, train=trained)
    return models(job)


def job_of(server, folder):
    return job_in(server, folder, *CLIENTS, env={"FEDLOOM_HTTP_INLINE_BYTES": "0"}, model=model, **BY_DELTA)


def sites_of(job):
    return [Following(job, client, samples=10 + 5 * i, train=trained) for i, client in enumerate(CLIENTS)]


def finish(job, threads, sites):
    with Aggregator(job).ready() as aggregator:
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), aggregator.log()
            assert site.error is None
        return aggregator.log()


@pytest.mark.parametrize("call", [None, *(p[1:] for p in POINTS)], ids=["undisturbed", *(p[0] for p in POINTS)])
def test_deltas_from_a_bucket_make_the_models_of_a_volume(tmp_path, seaweedfs, on_a_volume, call):
    job = job_of(seaweedfs, tmp_path)
    sites = sites_of(job)
    sites[0].forgets = frozenset({3})
    threads = [site.start() for site in sites]
    if call is not None:
        with Aggregator(job, DIE_AT, *call) as dying:
            assert dying.wait() == 137, dying.log()
    finish(job, threads, sites)
    assert models(job) == on_a_volume
    assert len(set(on_a_volume)) == 5
    assert [site.wholes for site in sites] == [2, 1]


def test_a_reference_that_the_bucket_has_lost_costs_one_whole_model(tmp_path, seaweedfs):
    job = job_of(seaweedfs, tmp_path)
    sites = sites_of(job)
    threads = [site.start() for site in sites]
    with Aggregator(job, DIE_AT, *POINTS[-1][1:]) as dying:
        assert dying.wait() == 137, dying.log()
    for key in on_their_way(job):
        job.store.delete(key)
    log = finish(job, threads, sites)
    assert "what sites have cannot be read, so that the next model goes to them as it is" in log
    assert len(job.commits()) == 5
    assert job.commits()[4].reference.sha256 == models(job)[3]
