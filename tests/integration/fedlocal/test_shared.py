"""Sites that share trainers: the same model as with processes of their own, and one site's trouble is that site's alone."""

import os
import signal

import pytest

from fedlocal.memory import SPARE_TRAINERS
from tests.integration.fedlocal.runs import Lab, descendants, finish, job, site
from tests.processes import running
from tests.waiting import until

NAMES = ("ada", "ben", "cleo", "dora", "emil", "fay")
LENIENT = {"quorum": 2, "graceAfterQuorum": "1s", "deadline": "10m"}

MEMORY = """
import os

import torch

import lab

WHO, PLACE = os.environ.get("WHO"), os.getcwd()  # read when the module is imported, as tasks do
KEPT = []


class Task(lab.Lab):
    def data(self, site):
        KEPT.append(site.name)
        assert {WHO, os.environ["WHO"], *KEPT} == {site.name}, (WHO, KEPT, site.name)
        assert PLACE == os.getcwd()
        print("these are the words of", site.name)
        return super().data(site)

    def train(self, model, data, settings, ctx):
        done = super().train(model, data, settings, ctx)
        mode = os.environ.get("MODE", "")
        if mode == "killed":
            os.kill(os.getpid(), 9)
        if mode == "exits":
            os._exit(7)
        if mode == "raises":
            raise RuntimeError("this site cannot")
        if mode == "diverges":
            with torch.no_grad():
                model.weight.fill_(float("nan"))
        if mode == "thread":
            import threading, time

            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        return done


def task():
    return Task()
"""


def held():
    """Six sites, of which one waits in round 2."""
    return [job(), *(site(name, LAB_HOLD="2" if name == "dora" else "") for name in NAMES)]


def remembering(round_, waits="", **modes):
    """Six sites; one may wait in round 1."""
    task = {"entrypoint": "memory:task", "image": "none"}
    held = {name: "1" if name == waits else "" for name in NAMES}
    sites = [site(name, WHO=name, MODE=modes.get(name, ""), LAB_HOLD=held[name]) for name in NAMES]
    return [job(task=task, round=round_), *sites]


def rounds(lab):
    return {client["name"]: client["rounds"] for client in lab.result()["clients"]}


def pids(lab):
    found = {f"{name}-{round_}": lab.folder / "marks" / f"{name}-{round_}" for name in NAMES for round_ in (1, 2, 3)}
    return {mark: int(path.read_text()) for mark, path in found.items()}


@pytest.fixture
def lab(tmp_path):
    made = Lab.of(tmp_path, *held())
    yield made
    made.close()


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """The digest of a run whose sites have processes of their own."""
    made = Lab.of(tmp_path_factory.mktemp("apart"), *held())
    made.go(2)
    code, output = made.run("--trainers", "own")
    assert code == 0, output
    assert len(set(pids(made).values())) == len(NAMES)
    return made.digest()


def test_the_model_is_that_of_processes_of_their_own(lab, apart):
    lab.go(2)
    code, output = lab.run("--trainers", "shared")
    assert code == 0, output
    assert lab.digest() == apart
    assert len(set(pids(lab).values())) <= (os.cpu_count() or 1) + SPARE_TRAINERS


def test_a_shared_trainer_killed_in_mid_training_is_replaced(lab, apart):
    process = lab.start("--trainers", "shared")
    os.kill(lab.pid_in_round("dora", 2), signal.SIGKILL)
    lab.go(2)
    code, output = finish(process)
    assert code == 0, output
    assert lab.digest() == apart
    assert rounds(lab) == dict.fromkeys(NAMES, 3)


def test_a_run_is_stopped_in_mid_training_and_goes_on(lab, apart):
    process = lab.start("--trainers", "shared")
    lab.pid_in_round("dora", 2)
    below = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    until(lambda: not any(map(running, below)))
    lab.go(2)
    assert lab.run("--trainers", "shared")[0] == 0
    assert lab.digest() == apart


def test_nothing_of_one_site_is_seen_by_the_next(tmp_path):
    lab = Lab.of(tmp_path, *remembering({"quorum": "100%"}, cleo="thread"))
    (lab.folder / "memory.py").write_text(MEMORY)
    code, output = lab.run("--trainers", "shared")
    assert code == 0, output
    assert rounds(lab) == dict.fromkeys(NAMES, 3)
    assert len({pids(lab)[f"cleo-{round_}"] for round_ in (1, 2, 3)}) == 3, "it left a thread running each time"
    for name in NAMES:
        words = (lab.state / "logs" / f"{name}.log").read_text()
        assert {line for line in words.splitlines() if "the words of" in line} == {f"these are the words of {name}"}


def test_sites_that_fail_fail_alone(tmp_path):
    """One of the two whose updates are needed waits until each of the others is told of."""
    modes = {"ada": "killed", "cleo": "exits", "dora": "raises", "fay": "diverges"}
    lab = Lab.of(tmp_path, *remembering(LENIENT, "emil", **modes))
    (lab.folder / "memory.py").write_text(MEMORY)
    process = lab.start("--trainers", "shared")
    try:
        until(lambda: all(f"site {name}: " in process.log.read_text() for name in modes), why=process.log.read_text)
        lab.go(1)
        code, output = finish(process)
    finally:
        lab.close()
    assert code == 0, output
    assert rounds(lab) == {name: 0 if name in modes else 3 for name in NAMES}
