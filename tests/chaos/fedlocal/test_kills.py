"""Processes killed in mid-round, the runner too: nothing is left behind, and the model is that of the undisturbed run."""

import os
import signal

import pytest

from tests.integration.fedlocal.runs import TASK, Lab, descendants, finish, hubs, job, ranks, site, until
from tests.processes import running

SITES = (site("north"), site("south", LAB_HOLD="2"))


@pytest.fixture
def undisturbed(embedded_digest):
    return embedded_digest([job(), site("north"), site("south")], TASK)


@pytest.fixture
def lab(tmp_path):
    made = Lab.of(tmp_path, job(), *SITES)
    yield made
    made.close()


def ends_as(lab, process, digest):
    lab.go(1, 2)
    code, output = finish(process)
    assert code == 0, output
    assert lab.digest() == digest
    return output


def test_a_trainer_killed_in_mid_round_comes_back(lab, undisturbed):
    process = lab.start()
    os.kill(lab.pid_in_round("south", 2), signal.SIGKILL)
    ends_as(lab, process, undisturbed)


def test_an_aggregator_killed_in_mid_round_comes_back(lab, undisturbed):
    process = lab.start()
    lab.pid_in_round("south", 2)
    (aggregator,) = hubs(process.pid)
    os.kill(aggregator, signal.SIGKILL)
    ends_as(lab, process, undisturbed)


def fork_server(process):
    """The process that forks trainers, which have its name, as soon as it is there."""

    def found():
        below = descendants(process.pid)
        return next((pid for pid, line in below.items() if "fork_server" in line), None)

    return until(found)


def test_a_fork_server_killed_during_the_start_is_replaced_and_so_are_those_after_it(lab, undisturbed):
    process = lab.start()
    for _ in range(3):
        pid = fork_server(process)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: not running(pid))
    ends_as(lab, process, undisturbed)


def test_a_fork_server_killed_in_mid_round_takes_its_trainers_with_it_and_they_come_back(lab, undisturbed):
    process = lab.start()
    trainer = lab.pid_in_round("south", 2)
    os.kill(fork_server(process), signal.SIGKILL)
    until(lambda: not running(trainer))
    ends_as(lab, process, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_whose_start_hangs_is_stopped_by_the_first_signal(lab, undisturbed, number):
    process = lab.start()
    os.kill(fork_server(process), signal.SIGSTOP)
    until((lab.state / "pods").is_dir)  # the init step waits for its fork
    children = descendants(process.pid)
    process.send_signal(number)
    code, output = finish(process)
    assert (code, "lab stopped after 0/3 rounds" in output) == (130, True), output
    until(lambda: not any(running(pid) for pid in children))
    ends_as(lab, lab.start(), undisturbed)


def test_a_run_that_is_stopped_or_killed_leaves_no_process_and_is_resumed(lab, undisturbed):
    """By one signal after the other: each run resumes what the one before it left."""
    children = []
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        process = lab.start()
        lab.pid_in_round("south", 2)
        children.append(descendants(process.pid))
        process.send_signal(number)
        got, output = finish(process)
        assert got == code, output
        assert children[-1]
        until(lambda: not any(running(pid) for pid in children[-1]))
        assert not (lab.state / "result.json").exists()
        (lab.folder / "marks" / "south-2").unlink()
    ends_as(lab, lab.start(), undisturbed)
    assert int((lab.folder / "marks" / "south-1").read_text()) in children[0], "round 1 was trained again"


RING = {"workers": 2, "collective": "TorchDistributed"}
RINGED = (site("north"), site("south", RING, LAB_HOLD="1,2"))


@pytest.fixture
def undisturbed_ring(embedded_digest):
    return embedded_digest([job(rounds=2), site("north"), site("south", RING)], TASK)


@pytest.fixture
def ring(tmp_path):
    made = Lab.of(tmp_path, job(rounds=2), *RINGED)
    yield made
    made.close()


def test_ranks_killed_in_mid_round_come_back_and_no_update_counts_twice(ring, undisturbed_ring):
    process = ring.start()
    for round_, rank in ((1, 1), (2, 0)):
        ring.pid_in_round("south", round_)
        os.kill(ranks(process.pid)[rank], signal.SIGKILL)
        ring.go(round_)
    ends_as(ring, process, undisturbed_ring)
    assert [client["rounds"] for client in ring.result()["clients"]] == [2, 2]


def test_a_killed_run_leaves_no_rank(ring, undisturbed_ring):
    ring.go(1)
    process = ring.start()
    ring.pid_in_round("south", 2)
    children = descendants(process.pid)
    assert set(ranks(process.pid)) == {0, 1}
    process.send_signal(signal.SIGKILL)
    finish(process)
    until(lambda: not any(running(pid) for pid in children))
    ends_as(ring, ring.start(), undisturbed_ring)


def test_two_runs_in_one_folder_do_not_meet(lab, undisturbed):
    process = lab.start()
    lab.pid_in_round("south", 2)
    code, output = lab.run()
    assert (code, f"in use by another run (process {process.pid})" in output) == (1, True), output
    ends_as(lab, process, undisturbed)
