"""Heartbeats: at most one write per site and minute, evenly, and never later than what was heard."""

import asyncio
import threading
import time

from fedaggregator.errors import StatusUnavailableError
from fedaggregator.heartbeats import RENEWALS_PER_S, Heartbeats
from fedaggregator.patience import Patience
from fedapi.names import SITE_LEASE_RENEW_S


class Sink:
    """Keeps what is renewed, and when."""

    def __init__(self, refused=()):
        self.renewed, self.at, self.ago_s = [], [], {}
        self._refused, self._lock = set(refused), threading.Lock()

    def heard(self, client, ago_s):
        with self._lock:
            self.at.append(time.monotonic())
            self.renewed.append(client)
            self.ago_s[client] = ago_s
        if client in self._refused:
            raise StatusUnavailableError(f"lease {client}: 503", 503)


def beating(act, sink, clock):
    async def run():
        beats = Heartbeats(clock, sink, Patience(clock))
        await act(beats)

    asyncio.run(run())


def test_a_crowd_that_connects_at_once_is_renewed_evenly():
    sink, sites = Sink(), [f"site-{n}" for n in range(60)]

    async def act(beats):
        for site in sites:
            beats.heard(site)
        await beats._renewing

    began = time.monotonic()
    beating(act, sink, time.monotonic)
    assert sink.renewed == sites, "first come, first served"
    for count, at in enumerate(sorted(sink.at)):
        assert at - began >= count / RENEWALS_PER_S - 0.001


def test_a_site_that_speaks_often_is_renewed_once_a_minute():
    sink, now = Sink(), [1000.0]

    async def act(beats):
        for second in range(0, 181, 5):
            now[0] = 1000.0 + second
            beats.heard("a")
            if beats._renewing:
                await beats._renewing

    beating(act, sink, lambda: now[0])
    assert len(sink.renewed) == 180 / SITE_LEASE_RENEW_S + 1


def test_what_waits_tells_when_the_site_was_heard():
    sink, now = Sink(), [0.0]

    async def act(beats):
        beats.heard("a")
        now[0] = 40.0
        await beats._renewing

    beating(act, sink, lambda: now[0])
    assert sink.ago_s == {"a": 40.0}


def test_one_that_cannot_be_written_does_not_stop_the_others():
    sink = Sink(refused=["site-0"])

    async def act(beats):
        for n in range(6):
            beats.heard(f"site-{n}")
        await beats._renewing

    beating(act, sink, time.monotonic)
    assert len(sink.renewed) == 6
