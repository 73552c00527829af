"""kill -9 of an aggregator with asynchronous rounds: what is accepted is in one model, and the buffers make the bits."""

import time
from collections import Counter

import pytest

from fedapi.wire.strategy import StrategySettings
from tests.chaos.fedaggregator.restarted import run_killed
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, scripted_update
from tests.waiting import PATIENCE_S, until

CLIENTS = ("a", "b", "c")
NUMBERS = {"buffer_size": 2.0, "learning_rate": 0.5, "staleness_exponent": 0.5}
ROUNDS, SLOW_S = 6, 0.4
POINTS = [
    ("after a manifest", "fedaggregator.engine.interpreter:Interpreter.write_manifest", "after", 5),
    ("before a buffer is closed", "fedaggregator.engine.interpreter:Interpreter.write_close", "before", 3),
    ("after a buffer is closed", "fedaggregator.engine.interpreter:Interpreter.write_close", "after", 3),
    ("in mid-fold", "fedcore.strategies.weighing:weighed", "after", 2),
    ("after commit.json, before HEAD", "fedaggregator.engine.interpreter:Interpreter.write_commit", "after", 4),
    ("after HEAD", "fedaggregator.engine.interpreter:Interpreter.move_head", "after", 4),
    ("in a discard", "fedaggregator.engine.interpreter:Interpreter.discard", "before", 2),
]


def slowly(model, client, order):
    """What c sends is of a model that is old by then."""
    time.sleep(SLOW_S if client == "c" else 0.02)
    return scripted_update(model, client, order)


def fedbuff(size: float = 2.0):
    strategy = StrategySettings(name="FedBuff", parameters=NUMBERS | {"buffer_size": size})
    return config(CLIENTS, strategy=strategy, rounds=ROUNDS, max_staleness=30)


def orders(commit):
    return {p.client: p.order.round if p.order else commit.round for p in commit.participants}


class Replayed:
    """The same buffers once more, without a kill, each site's update handed in when its buffer is open."""

    def __init__(self, job: JobFolder, commits) -> None:
        self.job, self.commits = job, commits
        self.sites = {client: Site(job, client, samples=10 + 5 * i) for i, client in enumerate(CLIENTS)}
        self.orders: dict[tuple[str, int], object] = {}

    def run(self) -> None:
        for site in self.sites.values():  # the first round waits for all of them
            site.next(0.0)
        for commit in self.commits[1:]:
            for client, site in self.sites.items():  # every site that waits has its order before the buffer closes
                starts = [c for c in self.commits if orders(c).get(client) == commit.round]
                if starts and (client, commit.round) not in self.orders:
                    self.orders[client, commit.round] = site.next().train
            for client, round_ in sorted(orders(commit).items(), reverse=True):
                order = self.orders[client, round_]
                assert order.round == round_
                self.sites[client].take_part(order).raise_for_status()


def made(job: JobFolder):
    return [(c.model.sha256, c.hub_state and c.hub_state.sha256) for c in job.commits()]


@pytest.mark.parametrize("call", [[*map(str, p[1:])] for p in POINTS], ids=[p[0] for p in POINTS])
def test_killed_at(tmp_path, call):
    job = JobFolder(tmp_path / "killed", fedbuff())
    sites = [Site(job, client, samples=10 + 5 * i, train=slowly) for i, client in enumerate(CLIENTS)]
    run_killed(job, sites, call)
    commits = job.commits()
    assert [c.round for c in commits] == list(range(ROUNDS + 1))
    counted = Counter((client, round_) for c in commits for client, round_ in orders(c).items())
    assert set(counted.values()) == {1}
    assert all(len(c.participants) >= 2 for c in commits[1:])
    sizes = {len(c.participants) for c in commits[1:]}
    if sizes == {2}:  # a buffer that a restart has filled over its size is made again by the property test
        again = JobFolder(tmp_path / "again", fedbuff())
        with Aggregator(again).ready():
            Replayed(again, commits).run()
            until(lambda: again.head().round == ROUNDS, PATIENCE_S)
        assert made(again) == made(job)
