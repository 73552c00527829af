"""How long a status that is refused is tried again."""

import asyncio

import pytest

from fedaggregator.errors import FatalError, StatusUnavailableError
from fedaggregator.patience import Patience


@pytest.mark.parametrize("code", [0, 409, 429, 500, 503])
def test_a_server_that_is_away_or_busy_is_waited_for(code):
    async def run():
        patience = Patience(lambda: 0.0, patience_s=0.0)
        patience.status(StatusUnavailableError("x", code))
        assert not patience.final.done()

    asyncio.run(run())


def test_one_report_that_is_taken_begins_the_patience_anew():
    async def run():
        now = [0.0]
        patience = Patience(lambda: now[0])
        for at, taken in ((0, False), (59, False), (60, True), (61, False), (120, False)):
            now[0] = at
            patience.taken() if taken else patience.status(StatusUnavailableError("x", 403))
        assert not patience.final.done()
        now[0] = 121
        patience.status(StatusUnavailableError("x", 403))
        assert isinstance(patience.final.exception(), FatalError)

    asyncio.run(run())
