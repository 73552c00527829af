"""kill -9 while a job goes back to an earlier round: it is done once, and the models are those of a run that never went on."""

from pathlib import Path

import pytest

from fedapi.wire.job import RollbackTo
from fedapi.wire.strategy import StrategySettings
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, scripted_update
from tests.waiting import PATIENCE_S, until

DIE_AT = str(Path(__file__).with_name("die_at.py"))
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter"
CLIENTS = ("a", "b")
STRATEGY = StrategySettings(name="FedAvgM", parameters={"momentum": 0.9, "learning_rate": 0.5})
THE_COMMIT = "rolled_back_to=1"
POINTS = [
    ("before it is looked for", "fedaggregator.engine.earlier:sought", "before", 1),
    ("once it was found", "fedaggregator.engine.earlier:sought", "after", 1),
    ("before commit.json", f"{INTERPRETER}.write_commit", "before", 1, THE_COMMIT),
    ("after commit.json, before HEAD", f"{INTERPRETER}.write_commit", "after", 1, THE_COMMIT),
    ("after HEAD", f"{INTERPRETER}.move_head", "after", 1, THE_COMMIT),
    ("while old objects are deleted", "fedstore.disk:DiskStore.delete", "before", 1, "round_4"),
    ("before the next plan", f"{INTERPRETER}.write_plan", "before", 1, "round=5"),
    ("before the status is written", "fedaggregator.adapters.statusfile:StatusFile.publish", "before", 1, "'rollback'"),
]


def same_in_every_round(model, client, order):
    """What training would give if it depended on the site alone."""
    return scripted_update(model, client, order.model_copy(update={"round": 0}))


def sites_of(job: JobFolder) -> list[Site]:
    return [Site(job, name, samples=10 + 5 * i, train=same_in_every_round) for i, name in enumerate(CLIENTS)]


def ended(job: JobFolder, sites: list[Site]) -> list[str]:
    """Digests of all models, once the sites have trained to the end."""
    for thread, site in [(site.start(), site) for site in sites]:
        thread.join(PATIENCE_S)
        assert site.error is None
        assert not thread.is_alive()
    until(lambda: "outcome" in job.status())
    return [commit.model.sha256 for commit in job.commits()]


@pytest.fixture(scope="module")
def never_went_on(tmp_path_factory):
    job = JobFolder(tmp_path_factory.mktemp("undisturbed"), config(CLIENTS, rounds=4, strategy=STRATEGY))
    with Aggregator(job).ready():
        return ended(job, sites_of(job))


def three_rounds(job: JobFolder, sites: list[Site]) -> None:
    """Rounds 1 to 3 are committed, and site a has delivered in round 4."""
    for site in sites:
        site.next(0.0)
    for _ in range(3):
        for site in sites:
            assert site.take_part(site.next().train).status_code == 200
    assert sites[0].take_part(sites[0].next().train).status_code == 200
    assert job.head().round == 3


@pytest.mark.parametrize(("point", "call"), [(p[0], [*map(str, p[1:])]) for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, never_went_on, point, call):
    job = JobFolder(tmp_path, config(CLIENTS, rounds=4, strategy=STRATEGY))
    sites = sites_of(job)
    with Aggregator(job, DIE_AT, *call).ready() as dying:
        three_rounds(job, sites)
        job.write_config(job.config.model_copy(update={"rollback_to": RollbackTo(round=1)}))
        assert dying.wait() == 137, dying.log()
    with Aggregator(job).ready():
        until(lambda: job.head().round == 4)
        assert sites[1].next(0.0, doing=(4, 1)).kind == "Drop"
        models = ended(job, sites)
    commits = job.commits()
    assert [commit.rolled_back_to for commit in commits] == [None, None, None, None, 1, None, None, None]
    assert models == [*never_went_on[:4], never_went_on[1], *never_went_on[2:]]
    assert commits[4].hub_state == commits[1].hub_state
    assert job.status()["rollback"]["committed"] == 4
    assert job.status()["round"]["progress"] == "7/7"
    assert all(client["failures"] == 0 for client in job.status()["clients"])


def test_of_a_model_that_has_rotted_nothing_is_made(tmp_path):
    """The round goes on as if nothing had been asked for, and the status says why."""
    job = JobFolder(tmp_path, config(CLIENTS, rounds=4, strategy=STRATEGY))
    sites = sites_of(job)
    with Aggregator(job).ready():
        three_rounds(job, sites)
        path = job.root / "store" / job.commits()[1].model.key
        data = path.read_bytes()
        path.chmod(0o640)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        job.write_config(job.config.model_copy(update={"rollback_to": RollbackTo(round=1)}))
        until(lambda: job.status().get("rollback", {}).get("result") == "Refused")
        assert "its SHA-256 is" in job.status()["rollback"]["message"]
        assert len(ended(job, sites)) == 5
    assert [commit.rolled_back_to for commit in job.commits()] == [None] * 5
