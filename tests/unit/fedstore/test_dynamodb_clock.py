"""A registry whose clock is not that of its table writes nothing, says so, and goes on when the clock was set."""

from email.utils import formatdate

import pytest

from fedapi.wire.registry import Claims
from fedstore.dynamodb import DynamoSites
from fedstore.errors import StoreFailedError

NOW = 1_800_000_000.0
DATE = formatdate(NOW, usegmt=True)


class Table:
    """DynamoDB as far as it has the time and no items."""

    def __init__(self, date=DATE):
        self.calls, self.date = [], date

    def __getattr__(self, call):
        def answer(**_):
            self.calls.append(call)
            return {"Items": [], "ResponseMetadata": {"HTTPHeaders": {"date": self.date}}}

        return answer


@pytest.mark.parametrize(("off_s", "words"), [(600.0, "600 s ahead of"), (-600.0, "600 s behind")])
def test_nothing_is_written_by_another_clock(off_s, words):
    table, now = Table(), [NOW + off_s]
    sites = DynamoSites("t", lambda: table, lambda: now[0])
    with pytest.raises(StoreFailedError, match=words):
        sites.settle(now[0])
    with pytest.raises(StoreFailedError, match=f"the clock of this process is {words} that of DynamoDB"):
        sites.heard("ns/a", Claims(), now[0])
    assert table.calls == ["scan"]
    now[0] = NOW + 2.0
    assert sites.settle(now[0]) == ()
    assert sites.heard("ns/a", Claims(), now[0])
    assert table.calls == ["scan", "scan", "put_item"]


@pytest.mark.parametrize("date", ["", "yesterday", "Fri, 99 Foo 2027 25:00:00 GMT"])
def test_a_date_that_cannot_be_read_says_nothing(date):
    sites = DynamoSites("t", lambda: Table(date), lambda: NOW)
    assert sites.settle(NOW) == ()
    assert sites.heard("ns/a", Claims(), NOW)
