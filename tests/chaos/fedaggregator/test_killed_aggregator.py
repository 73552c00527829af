"""kill -9 at each point that the protocol lists: the restarted aggregator gives the model of the undisturbed run."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from fedapi.outcome import Exit
from fedapi.wire.update import UpdateEnvelope
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites, small_model
from tests.waiting import PATIENCE_S, until

DIE_AT = str(Path(__file__).with_name("die_at.py"))
BETWEEN_LOOKS = str(Path(__file__).with_name("between_looks.py"))
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
CLIENTS = ("a", "b", "c")
UPDATE = "client_._round_2-[0-9a-f]{64}"
BY_URL = {"FEDLOOM_HTTP_INLINE_BYTES": "0"}
LARGE = {"layer.weight": np.arange(1 << 20, dtype=np.float32)}  # 4 MiB

POINTS = [
    ("the initial model is in the store", "fedaggregator.engine.content:check_model", "after", 1),
    ("before the plan", f"{INTERPRETER}.write_plan", "before", 2),
    ("after the plan", f"{INTERPRETER}.write_plan", "after", 2),
    ("between an update and its manifest", "fedstore.disk:DiskStore.name", "after", 2, UPDATE),
    ("during an upload", "fedaggregator.http.blobs:_write", "before", 5),
    ("after an upload, before its name", "fedstore.disk:DiskStore.name", "before", 2, UPDATE),
    ("after an evaluation", f"{INTERPRETER}.write_report", "after", 4),
    ("before a manifest", f"{INTERPRETER}.write_manifest", "before", 5),
    ("after a manifest", f"{INTERPRETER}.write_manifest", "after", 5),
    ("after the last manifest of a round", f"{INTERPRETER}.write_manifest", "after", 6),
    ("in mid-fold", "fedcore.strategies.folding:folded", "after", 3),
    ("after the model object", f"{INTERPRETER}.fold", "after", 2),
    ("after evaluation.json", f"{INTERPRETER}.write_evaluation", "after", 2),
    ("after commit.json, before HEAD", f"{INTERPRETER}.write_commit", "after", 3),
    ("after HEAD, before the next plan and the status", f"{INTERPRETER}.move_head", "after", 3),
    ("while old objects are deleted", "fedstore.disk:DiskStore.delete", "after", 4),
    ("before the status is written", "fedaggregator.adapters.statusfile:StatusFile.publish", "before", 2),
    ("before HEAD says finished", f"{INTERPRETER}.finish", "before", 1),
    ("after HEAD says finished", f"{INTERPRETER}.finish", "after", 1),
]


def accepted_updates(job: JobFolder) -> list[tuple[str, int, int]]:
    """What the dead process had accepted and not folded yet."""
    files = (job.root / "store" / "updates").rglob("*.manifest.json")
    manifests = [UpdateEnvelope.stored(path.read_bytes()).body for path in files]
    return [(m.client, m.round, m.attempt) for m in manifests]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS))
    with Aggregator(job).ready():
        run_sites(job)
    return [commit.model.sha256 for commit in job.commits()]


@pytest.mark.parametrize(("point", "call"), [(p[0], [*map(str, p[1:])]) for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, undisturbed, point, call):
    job = JobFolder(tmp_path, config(CLIENTS), extra_env=BY_URL if "upload" in point else {})
    sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
    with Aggregator(job, DIE_AT, *call) as dying:
        threads = [site.start() for site in sites]
        assert dying.wait() == 137, dying.log()
    durable = accepted_updates(job)
    if point == "between an update and its manifest":
        named = list((tmp_path / "store" / "updates").rglob("client_*_round_2-*.safetensors"))
        assert len(named) > sum(round_ == 2 for _, round_, _ in durable)
    with Aggregator(job).ready():
        for thread, site in zip(threads, sites, strict=True):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
            assert site.error is None
        until(lambda: "outcome" in job.status())
    commits = job.commits()
    assert [commit.model.sha256 for commit in commits] == undisturbed
    assert [commit.round for commit in commits] == [0, 1, 2, 3]
    assert all([p.client for p in commit.participants] == list(CLIENTS) for commit in commits[1:])
    trained = [(site.client, round_, attempt) for site in sites for round_, attempt in site.trained]
    assert all(trained.count(update) == 1 for update in durable), "what was uploaded is never trained again"
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []
    assert job.status()["outcome"]["result"] == "Succeeded"


@pytest.mark.parametrize(
    ("where", "when", "count"),
    [
        ("fedaggregator.http.bulk:_Sent._encrypt", "after", 50),
        ("fedaggregator.http.bulk:_Received._decrypt", "before", 20),
        ("fedaggregator.http.bulk:_Received._decrypt", "after", 70),
    ],
    ids=["a model goes out", "the first update comes", "a later update comes"],
)
def test_killed_while_threads_move_a_large_body(tmp_path, where, when, count):
    models = []
    for point in ((), (DIE_AT, where, when, str(count))):
        job = JobFolder(tmp_path / f"{len(point)}", config(CLIENTS, rounds=1), model=LARGE)
        sites = [Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
        if point:
            with Aggregator(job, *point) as dying:
                threads = [site.start() for site in sites]
                assert dying.wait() == 137, dying.log()
        with Aggregator(job).ready():
            threads = threads if point else [site.start() for site in sites]
            for thread, site in zip(threads, sites, strict=True):
                thread.join(PATIENCE_S)
                assert site.error is None
        models.append([commit.model.sha256 for commit in job.commits()])
        assert list((job.root / "store" / ".tmp").iterdir()) == []
    assert len(models[0]) == 2
    assert models[0] == models[1]


def test_killed_in_every_recovery(tmp_path, undisturbed):
    """The restarted process is killed again, in its recovery and right after it."""
    job = JobFolder(tmp_path, config(CLIENTS))
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


def test_a_close_that_was_decided_stays_decided(tmp_path):
    """Quorum 2 of 3 and no third update: killed in the fold, the restart folds the same two, though the third comes."""
    job = JobFolder(tmp_path, config(CLIENTS, rounds=1, quorum=2, grace_after_quorum_s=0.2))
    with Aggregator(job, DIE_AT, "fedcore.strategies.folding:folded", "before", "1").ready() as dying:
        sites = [Site(job, client) for client in CLIENTS]
        for site in sites:
            site.next(0.0)
        orders = [site.next().train for site in sites]
        for site, order in zip(sites[:2], orders[:2], strict=True):
            assert site.take_part(order).status_code == 200
        assert dying.wait() == 137
    with Aggregator(job).ready():
        until(lambda: job.head().round == 1)
        assert sites[2].next(0.0, doing=(1, 1)).kind == "Drop"
    assert [p.client for p in job.commits()[-1].participants] == ["a", "b"]


def test_of_two_aggregators_the_older_one_stops(tmp_path, undisturbed):
    old = JobFolder(tmp_path, config(CLIENTS))
    with Aggregator(old, BETWEEN_LOOKS).ready() as first:
        sites = [Site(old, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)]
        for site in sites:
            site.next(0.0)
        orders = [site.next().train for site in sites]
        new = JobFolder(tmp_path, config(CLIENTS), model=None)
        with Aggregator(new).ready() as second:
            for site, order in zip(sites, orders, strict=True):
                site.take_part(order)  # to the old one: it can fold, but not commit
            assert first.wait() == Exit.SUPERSEDED
            assert "newer epoch" in (tmp_path / "termination.log").read_text()
            for site in sites:
                site.job = new
                site.http = Site(new, site.client).http
            threads = [site.start() for site in sites]
            for thread in threads:
                thread.join(PATIENCE_S)
            assert second.process.poll() is None
    assert [commit.model.sha256 for commit in new.commits()] == undisturbed
    assert [commit.epoch for commit in new.commits()] == [1, 2, 2, 2]


def test_an_update_that_the_older_one_took_counts(tmp_path):
    """A site delivers to the old process after the new one has recovered: what was answered 200 is what is folded."""
    old = JobFolder(tmp_path, config(("a", "b"), rounds=1))
    with Aggregator(old, BETWEEN_LOOKS).ready():
        a, b = Site(old, "a"), Site(old, "b")
        a.next(0.0)
        b.next(0.0)
        order = a.next().train
        new = JobFolder(tmp_path, config(("a", "b"), rounds=1), model=None)
        with Aggregator(new).ready():
            assert a.take_part(order).status_code == 200
            again = Site(new, "a", samples=99)  # the site's pod was restarted and has forgotten its nonce
            assert again.next().kind == "Train"
            grant = again.grant(order, save(small_model()))
            again.http.put(grant.url, content=save(small_model())).raise_for_status()
            answer = again.post("updates", again.manifest(order, grant, nonce="f" * 16))
            assert (answer.status_code, answer.json()["code"]) == (409, "Duplicate")
            Site(new, "b").step()
            until(lambda: new.head().round == 1)
    assert [(p.client, p.samples) for p in new.commits()[-1].participants] == [("a", 10), ("b", 10)]
