"""training.lifetime Round over real TLS: sites live for one step of the plan, started from the status that is published."""

import threading
import time

import httpx

from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config
from tests.waiting import PATIENCE_S, until


class Operator:
    """Starts a site for every plan step that it is selected for, as the real one starts Jobs; from the status alone."""

    def __init__(self, job: JobFolder) -> None:
        self.job = job
        self.steps: list[tuple[int, str, int]] = []
        self.lives: list[tuple[str, list[str]]] = []
        self._threads: list[threading.Thread] = []

    def look(self) -> bool:
        """Follows the plan; whether the job is over."""
        shown = self.job.status()
        plan = shown.get("round", {})
        step = (plan.get("current", 0), plan.get("step", ""), plan.get("attempt", 0))
        if plan.get("step") and step not in self.steps:
            self.steps.append(step)
            for client in plan["selected"]:
                self._threads.append(threading.Thread(target=self._live, args=(client,), daemon=True))
                self._threads[-1].start()
        return "outcome" in shown

    def _live(self, client: str) -> None:
        done: list[str] = []
        self.lives.append((client, done))
        site = Site(self.job, client)
        while not done:
            try:
                done.append(site.step(0.5))
            except httpx.TransportError:  # between two aggregators
                time.sleep(0.05)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_a_whole_job_with_a_restart(tmp_path):
    job = JobFolder(tmp_path, config(tuple("abc"), rounds=2, policy="Random", per_round=2, lifetime="Round"))
    operator = Operator(job)
    with Aggregator(job).ready():
        until(lambda: operator.look() or operator.steps)
    with Aggregator(job).ready():  # the same plan is published again, and nobody is started twice
        until(operator.look)
        operator.end()
    assert [(step[0], step[1]) for step in operator.steps] == [(1, "Train"), (2, "Train"), (2, "Evaluate")]
    assert [step for step in operator.steps if operator.steps.count(step) > 1] == []
    participants = [[p.client for p in commit.participants] for commit in job.commits()[1:]]
    assert [len(clients) for clients in participants] == [2, 2]
    evaluated = sorted(client for client, done in operator.lives if done == ["Evaluate"])
    assert evaluated == participants[-1]
    status = job.status()
    assert status["outcome"]["reason"] == "RoundsCompleted"
    assert status["round"]["selected"] == []
    assert {metric["round"] for metric in status["metrics"]} == {2}


def test_a_process_without_an_order_is_told_to_wait_so_that_it_can_end(tmp_path):
    """What a trainer with lifetime Round relies on: whoever is not asked anything hears Wait, and may go."""
    job = JobFolder(tmp_path, config(tuple("ab"), rounds=1, policy="Random", per_round=1, lifetime="Round"))
    with Aggregator(job).ready():
        until(lambda: job.status().get("round", {}).get("step") == "Train")
        (selected,) = job.status()["round"]["selected"]
        (other,) = {"a", "b"} - {selected}
        assert Site(job, other).step(0.2) == "Wait"
        order = Site(job, selected).next().train
        Site(job, selected).fail(order)
        until(lambda: job.status()["round"]["attempt"] == 2, not_yet=(KeyError,))
        (again,) = job.status()["round"]["selected"]
        assert Site(job, again).step(0.2) == "Train"
        until(lambda: job.status()["round"].get("step") == "Evaluate", not_yet=(KeyError,))
        assert Site(job, again).step(0.2) == "Evaluate"
        until(lambda: "outcome" in job.status())
        assert Site(job, other).step(0.2) == "Done"
