"""What the status says of the ledger is asked for a bounded time: a job starts without an API server."""

import asyncio
import time

import pytest

from fedaggregator import ledgerstatus
from fedaggregator.errors import StatusUnavailableError
from fedaggregator.ledgerstatus import Told
from fedapi.wire.ledger import Anchor

ORIGIN, ROOT = "fedloom.dev/ledger/lab/job", "a" * 64
SAID = {"ledger": {"size": 3, "root": ROOT, "publicKey": f"{ORIGIN}+id+key"}}


class Sink:
    """A status that fails so often before it answers, or takes so long."""

    def __init__(self, said, fails=0, takes_s=0.0):
        self.said, self.fails, self.takes_s = said, fails, takes_s

    def last(self):
        time.sleep(self.takes_s)
        self.fails -= 1
        if self.fails >= 0:
            raise StatusUnavailableError("the API server is away", 503)
        return self.said


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(ledgerstatus, "_PAUSE_S", 0.01)
    monkeypatch.setattr(ledgerstatus, "_PATIENCE_S", 0.3)


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


@pytest.mark.parametrize(("sink", "why"), [(Sink(SAID, 10**9), "is away"), (Sink(SAID, takes_s=0.6), "no answer")])
def test_who_does_not_answer_in_time_holds_nobody_up(sink, why, caplog):
    async def waited():
        began = time.monotonic()
        return await ledgerstatus.told(sink, ORIGIN), time.monotonic() - began

    found, took_s = asyncio.run(waited())
    assert found is None
    assert took_s < 0.5
    assert why in str(caplog.records[-1].fields)
