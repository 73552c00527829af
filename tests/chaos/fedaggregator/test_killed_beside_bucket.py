"""kill -9 at each point of a round whose store is a bucket: the restarted aggregator gives the model of a volume's run."""

import pytest

from tests.chaos.fedaggregator.test_killed_aggregator import CLIENTS, DIE_AT, INTERPRETER, POINTS
from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.waiting import PATIENCE_S, until

URLS = "fedaggregator.adapters.presigned:PresignedUrls"
BUCKET = "fedstore.bucketstore:BucketStore"
OF_A_VOLUME = ("fedstore.disk", "fedaggregator.http.blobs")
OF_A_BUCKET = [
    ("after a grant", f"{URLS}._presigned_put", "after", 5),
    ("before what was put is looked at", f"{URLS}.arrived", "before", 5),
    ("between an update and its manifest", f"{URLS}.arrived", "after", 5),
    ("before the model is sent", f"{BUCKET}.put_small", "before", 1, "models/"),
    ("after the model is sent", f"{BUCKET}.put_small", "after", 1, "models/"),
    ("after HEAD, before its answer is known", f"{BUCKET}.replace_head", "after", 4),
    ("while old objects are deleted", f"{BUCKET}.delete", "after", 4),
]
ALL = [*(point for point in POINTS if not point[1].startswith(OF_A_VOLUME)), *OF_A_BUCKET]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS))
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


@pytest.mark.parametrize(("point", "call"), [(p[0], [*map(str, p[1:])]) for p in ALL], ids=[p[0] for p in ALL])
def test_killed_at(tmp_path, undisturbed, seaweedfs, point, call):
    del point
    job = job_in(seaweedfs, tmp_path, *CLIENTS)
    sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    durable = [
        tuple(
            key.rpartition("client_")[2]
            .removesuffix(".manifest.json")
            .replace("_round_", " ")
            .replace("-a", " ")
            .split()
        )
        for key in job.store.keys("updates/")
        if key.endswith(".manifest.json")
    ]
    with Aggregator(job).ready():
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
        until(lambda: "outcome" in job.status())
    commits = job.commits()
    assert [commit.model.sha256 for commit in commits] == undisturbed
    assert all([p.client for p in commit.participants] == list(CLIENTS) for commit in commits[1:])
    trained = [(site.client, str(round_), str(attempt)) for site in sites for round_, attempt in site.trained]
    assert all(trained.count(update) == 1 for update in durable), "what was uploaded is never trained again"
    assert job.status()["outcome"]["result"] == "Succeeded"


def test_killed_in_every_recovery(tmp_path, undisturbed, seaweedfs):
    job = job_in(seaweedfs, tmp_path, *CLIENTS)
    sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
    threads = []
    for point in (
        (f"{INTERPRETER}.write_manifest", "after", "5"),
        ("fedaggregator.engine.records:take_head", "after", "1"),
        ("fedaggregator.engine.records:load_log", "after", "1"),
        (f"{INTERPRETER}.fold", "before", "1"),
    ):
        with Aggregator(job, DIE_AT, *point) as dying:
            threads = threads or [site.start() for site in sites]
            assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        for thread in threads:
            thread.join(PATIENCE_S)
    assert [commit.model.sha256 for commit in job.commits()] == undisturbed
    assert job.head().epoch == 5
