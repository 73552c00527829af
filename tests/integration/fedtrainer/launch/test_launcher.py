"""Launchers as processes on loopback: generations form, break, shrink, grow and finish."""

import os
import signal

import pytest

from fedapi.outcome import Exit
from fedapi.wire.tokens import hkdf
from fedtrainer.launch import generations as g
from fedtrainer.launch.client import Client
from fedtrainer.launch.messages import TOKEN_INFO, JoinRequest, Place
from tests.integration.fedtrainer.launch.pool import TOKEN, Pool, free_port
from tests.processes import running
from tests.waiting import PATIENCE_S, until


@pytest.fixture
def pools(tmp_path):
    made = []

    def pool(**values) -> Pool:
        made.append(Pool(tmp_path, **values))
        return made[-1]

    yield pool
    for one in made:
        one.close()


def test_four_workers_form_a_generation_and_finish(pools):
    pool = pools(workers=4, slots=2, env={"FEDLOOM_THREADS": "3"})
    others = [pool.start(worker) for worker in (3, 2, 1)]  # before worker 0, whose service they wait for
    pods = [pool.start(0), *others]
    ranks = pool.generation(1, 8)
    assert [(r["worker"], r["local_rank"]) for r in ranks] == [(w, slot) for w in range(4) for slot in range(2)]
    assert {r["omp"] for r in ranks} == {"3"}
    assert len({r["store_port"] for r in ranks}) == 1
    pool.finish(pods)
    assert "[rank 5] works" in pool.log(2)
    assert not any(running(r["pid"]) for r in ranks)


def test_a_killed_rank_ends_its_pod_and_the_others_form_again_with_its_successor(pools):
    pool = pools(workers=2, slots=2)
    pods = [pool.start(0), pool.start(1)]
    first = pool.generation(1, 4)
    os.kill(first[2]["pid"], signal.SIGKILL)
    assert pods[1].wait(PATIENCE_S) == 128 + signal.SIGKILL
    assert pool.reason(1).read_text() == "rank 2 of worker 1 ended with signal 9\n"
    pods[1] = pool.start(1)
    pool.generation(2, 4)
    assert not any(running(rank["pid"]) for rank in first)
    pool.order(1, "12 no data at /data/x.csv")  # a second fault, with a reason, at worker 0
    assert pods[0].wait(PATIENCE_S) == Exit.DATA_MISSING
    assert pool.reason(0).read_text() == "no data at /data/x.csv\n"
    pods[0] = pool.start(0)
    pool.generation(3, 4)  # counted on from what worker 1 remembers
    pool.finish(pods)


def test_killed_launchers_take_their_ranks_along_and_are_joined_again(pools):
    pool = pools(workers=2)
    pods = [pool.start(0), pool.start(1)]
    for number, worker in ((1, 0), (2, 1)):
        ranks = pool.generation(number, 2)
        pods[worker].kill()
        until(lambda ranks=ranks: not any(running(rank["pid"]) for rank in ranks))
        assert pods[1 - worker].poll() is None
        pods[worker] = pool.start(worker)
    pool.generation(3, 2)
    pods[1].terminate()
    assert pods[1].wait(PATIENCE_S) == 128 + signal.SIGTERM
    pods[1] = pool.start(1)
    pool.generation(4, 2)
    pool.finish(pods)


def test_a_smaller_ring_takes_in_who_comes_late(pools):
    pool = pools(workers=3, env={"FEDLOOM_RING_MIN_WORKERS": "2", "FEDLOOM_RING_WAIT_S": "5"})
    pods = [pool.start(0), pool.start(2)]
    assert [rank["worker"] for rank in pool.generation(1, 2)] == [0, 2]
    pods.append(pool.start(1))
    assert [rank["worker"] for rank in pool.generation(2, 3)] == [0, 1, 2]
    pool.finish(pods)


def test_a_peer_that_cannot_be_reached_is_named(pools):
    pool = pools(workers=2, env={"FEDLOOM_RING_TIMEOUT_S": "1"})
    pod = pool.start(0)
    nobody = free_port()
    token = hkdf(TOKEN.encode(), TOKEN_INFO).hex()
    with Client("localhost", pool.port, token, PATIENCE_S) as client:
        place = Place.of(g.Worker(1, "x", "127.0.0.1", nobody))
        assert isinstance(client.join(JoinRequest(place=place, slots=1)), g.Start)
    assert pod.wait(PATIENCE_S) == Exit.PEER_UNREACHABLE
    expected = f"worker 0 (127.0.0.1) cannot reach worker 1 (127.0.0.1) on port {nobody}: Connection refused\n"
    assert pool.reason(0).read_text() == expected


def test_a_wrong_token_and_a_leader_that_never_comes_end_the_pod(pools):
    pool = pools(workers=3)
    alone = pool.start(2, FEDLOOM_RING_LEADER="worker-0.nowhere.invalid", FEDLOOM_PATIENCE_S="1")
    leader, wrong = pool.start(0), pool.start(1, token="cd" * 32)
    assert wrong.wait(PATIENCE_S) == Exit.REFUSED
    assert pool.reason(1).read_text().startswith("token: worker 0 of this site's ring has another")
    assert alone.wait(PATIENCE_S) == Exit.RING_BROKEN
    assert "worker 0 (http://worker-0.nowhere.invalid:" in pool.reason(2).read_text()
    leader.terminate()
    assert leader.wait(PATIENCE_S) == 128 + signal.SIGTERM
