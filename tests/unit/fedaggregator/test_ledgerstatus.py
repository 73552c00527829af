"""What the status says of the ledger is asked for a bounded time: a job starts without an API server."""

import asyncio
import threading

import pytest

from fedaggregator import ledgerstatus
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.ledgerstatus import Told
from fedapi.wire.ledger import Anchor
from tests.waiting import PATIENCE_S

ORIGIN, ROOT = "fedloom.dev/ledger/lab/job", "a" * 64
SAID = {"ledger": {"size": 3, "root": ROOT, "publicKey": f"{ORIGIN}+id+key"}}


class Sink:
    """A status that fails so often before it answers, or answers when it is let."""

    def __init__(self, said, fails=0, *, held=False):
        self.said, self.fails, self.let = said, fails, threading.Event()
        if not held:
            self.let.set()

    def last(self):
        self.let.wait(PATIENCE_S)
        self.fails -= 1
        if self.fails >= 0:
            raise StatusUnavailableError("the API server is away", 503)
        return self.said


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(ledgerstatus, "_PAUSE_S", 0.01)
    monkeypatch.setattr(ledgerstatus, "_PATIENCE_S", PATIENCE_S)


def told(sink):
    return asyncio.run(ledgerstatus.told(sink, ORIGIN))


@pytest.mark.parametrize("fails", [0, 3])
def test_it_is_asked_again_until_somebody_says_it(fails):
    assert told(Sink(SAID, fails)) == Told(ORIGIN, Anchor(size=3, root=ROOT))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"ledger": None},
        {"ledger": {**SAID["ledger"], "publicKey": "fedloom.dev/ledger/lab/other+id+key"}},
        {"ledger": {**SAID["ledger"], "root": "x"}},
    ],
)
def test_what_says_nothing_of_this_ledger(said):
    assert told(Sink(said)) is None


@pytest.mark.parametrize(("sink", "why"), [(Sink(SAID, 10**9), "is away"), (Sink(SAID, held=True), "no answer")])
def test_who_does_not_answer_in_time_holds_nobody_up(sink, why, caplog, monkeypatch):
    monkeypatch.setattr(ledgerstatus, "_PATIENCE_S", 0.3)

    async def waited():
        try:
            return await ledgerstatus.told(sink, ORIGIN)
        finally:
            sink.let.set()

    assert asyncio.run(waited()) is None
    assert why in str(caplog.records[-1].fields)
