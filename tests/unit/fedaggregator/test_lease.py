"""The Lease of a job's one writer, by a Lease in memory and a clock that the test moves."""

import threading

import pytest

from fedaggregator.errors import FatalError, LeaseConflictError, StatusUnavailableError
from fedaggregator.lease import Held, JobLease, Terms
from fedapi.outcome import Exit
from fedstore.errors import FencedOffError, StoreFailedError
from fedstore.fencing import WRITE_S
from fedstore.s3expiring import APART_S
from tests.waiting import PATIENCE_S, until

TERMS = Terms(renewed_s=0.001)  # as often as the test's machine can: the clock stands


class Server:
    """One Lease, as an API server has it."""

    def __init__(self, holder="", transitions=0):
        self.lease, self.fault, self.lose_answer = Held(holder, "1", transitions), None, False
        self.reads = 0

    def read(self):
        self.reads += 1
        self._answer()
        return self.lease

    def write(self, held):
        self._answer()
        if held.version != self.lease.version:
            raise LeaseConflictError
        self.lease = Held(held.holder, str(int(self.lease.version) + 1), held.transitions)
        if self.lose_answer:
            self.lose_answer = False
            raise StatusUnavailableError("no answer")
        return self.lease

    def _answer(self):
        if self.fault:
            raise self.fault


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def of(server, clock, me="me"):
    return JobLease(server, me, TERMS, clock)


def taking(lease, *, used=True):
    thread = threading.Thread(target=lease.take, kwargs={"used": lambda: used}, daemon=True)
    thread.start()
    return thread


def looked(server):
    """Two looks later: the first may have begun before."""
    seen = server.reads
    until(lambda: server.reads >= seen + 2)


def test_the_times_leave_room_for_a_write_and_for_clocks_that_differ():
    terms = Terms()
    assert terms.renewed_s * 3 < terms.trusted_s, "two renewals may fail"
    assert terms.trusted_s + WRITE_S + APART_S < terms.lasts_s


@pytest.mark.parametrize(
    ("server", "used"), [(Server(), False), (Server(transitions=3), True)], ids=["a job that begins", "given up"]
)
def test_what_nobody_holds_is_taken_at_once(server, used, clock):
    lease = of(server, clock)
    lease.take(used=lambda: used)
    assert (server.lease.holder, lease.waits_for) == ("me", "")
    lease.check()


@pytest.mark.parametrize("server", [Server("other", 1), Server()], ids=["held", "deleted and made anew"])
def test_what_somebody_may_hold_is_taken_when_it_has_not_changed_for_its_time(server, clock):
    lease = of(server, clock)
    thread = taking(lease)
    looked(server)
    assert "watched until that is over" in lease.waits_for
    clock.now += TERMS.lasts_s - 1
    looked(server)
    server.lease = Held("other", "7", 1)  # renewed: its time begins anew
    looked(server)
    clock.now += TERMS.lasts_s - 1
    looked(server)
    assert (server.lease.holder, thread.is_alive()) == ("other", True)
    with pytest.raises(FencedOffError):
        lease.check()
    clock.now += 2
    thread.join()
    assert (server.lease.holder, server.lease.transitions) == ("me", 2)
    lease.check()


def test_the_time_of_a_lease_counts_from_when_it_was_known_however_long_the_answer_took(clock):
    server = Server()
    holder, lease = of(server, clock, "holder"), of(server, clock)
    holder.take(used=lambda: False)
    answer = server.read

    def slowly():
        clock.now += TERMS.lasts_s + 1
        assert holder.renew()
        server.read = answer  # at once from now on
        return answer()

    server.read = slowly
    thread = taking(lease)
    until(lambda: server.reads >= 3 or not thread.is_alive())
    assert server.lease.holder == "holder"
    holder.check()
    lease.release()
    thread.join()


def test_a_holder_stops_to_write_in_time_and_goes_on_when_nobody_took_it(clock):
    server = Server()
    lease = of(server, clock)
    lease.take(used=lambda: False)
    server.fault = StatusUnavailableError("the API server is away")
    clock.now += TERMS.trusted_s
    assert lease.renew()
    lease.check()
    clock.now += 1
    with pytest.raises(StoreFailedError, match=r"not renewed for 11 s, .*the API server is away"):
        lease.check()
    server.fault = None
    assert lease.renew()
    lease.check()


def test_a_holder_that_was_paused_while_another_took_it_never_writes_again(clock):
    server = Server()
    lease, other = of(server, clock), of(server, clock, "other")
    lease.take(used=lambda: False)
    thread = taking(other)
    looked(server)
    clock.now += TERMS.lasts_s + 1
    thread.join()
    with pytest.raises(StoreFailedError, match="not renewed"):
        lease.check()  # resumed, before it has asked
    lost = threading.Event()
    lease.keep(lost.set)
    assert lost.wait(PATIENCE_S)
    with pytest.raises(FencedOffError, match="other's now"):
        lease.check()
    other.check()


def test_a_renewal_whose_answer_was_lost_is_no_loss(clock):
    server = Server()
    lease = of(server, clock)
    lease.take(used=lambda: False)
    server.lose_answer = True
    assert lease.renew()
    assert lease.renew()
    assert lease.renew()
    lease.check()
    assert server.lease.holder == "me"


def test_what_is_given_up_is_not_written_with_again_and_is_free_at_once(clock):
    server = Server()
    lease = of(server, clock)
    lease.take(used=lambda: False)
    lease.keep(lambda: pytest.fail("nobody took it"))
    lease.release()
    with pytest.raises(FencedOffError, match="given up"):
        lease.check()
    of(server, clock, "next").take(used=lambda: True)
    assert server.lease.holder == "next"


def test_rights_that_are_missing_are_waited_for_and_then_end_the_process(clock):
    server = Server()
    server.fault = StatusUnavailableError("lease: 403 forbidden", 403)
    ended = []
    lease = of(server, clock)

    def take():
        with pytest.raises(FatalError, match="403 forbidden: look at its Role") as told:
            lease.take(used=lambda: False)
        ended.append(told.value.code)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    looked(server)
    assert "cannot be had" in lease.waits_for
    clock.now += TERMS.patience_s + 1
    thread.join()
    assert ended == [Exit.STATUS_REFUSED]


def test_what_is_taken_while_it_is_given_up_is_given_up_too(clock):
    server, begun, go_on = Server(), threading.Event(), threading.Event()
    write = server.write

    def slow(held):
        begun.set()
        go_on.wait(PATIENCE_S)
        return write(held)

    server.write = slow
    lease = of(server, clock)
    thread = taking(lease, used=False)
    assert begun.wait(PATIENCE_S)
    releasing = threading.Thread(target=lease.release, daemon=True)
    releasing.start()
    releasing.join(0.1)  # it may wait for the write, or be over
    go_on.set()
    for each in (thread, releasing):
        each.join(PATIENCE_S)
    assert server.lease.holder == ""
