"""Which way a site's messages take: the queue first, HTTPS when it is silent, the queue again when HTTPS is, or after a while."""

import pytest

from fedtrainer.agent.patience import RetryError, SupersededError
from fedtrainer.agent.transport import QUEUE_AGAIN_S, QueueFirst


class Way:
    def __init__(self, name, held_s):
        self.name, self.held, self.down, self.superseded = name, held_s, False, False

    def post(self, path, body, answer_s):
        if self.superseded:
            raise SupersededError("another question was asked")
        if self.down:
            raise RetryError(f"{self.name} is down")
        return 200, self.name.encode()

    def held_s(self, wait_s):
        return self.held


@pytest.fixture
def ways():
    queue, https, now = Way("queue", 120.0), Way("https", 25.0), [1000.0]
    return queue, https, now, QueueFirst(queue, https, lambda: now[0])


def way(first):
    return first.post("next", b"{}", 1.0)[1].decode()


def test_the_queue_is_first(ways):
    _, https, _, first = ways
    https.down = True
    assert (way(first), first.held_s(25.0)) == ("queue", 120.0)


def test_what_the_queue_does_not_answer_is_asked_over_https_for_a_while(ways):
    queue, _, now, first = ways
    queue.down = True
    with pytest.raises(RetryError, match="goes on over HTTPS"):
        way(first)
    assert (way(first), first.held_s(25.0)) == ("https", 25.0)
    queue.down = False
    now[0] += QUEUE_AGAIN_S - 1
    assert way(first) == "https"
    now[0] += 1
    assert (way(first), first.held_s(25.0)) == ("queue", 120.0)


def test_a_site_that_does_not_reach_its_hub_asks_the_queue_again_at_once(ways):
    queue, https, _, first = ways
    queue.down = https.down = True
    for expected in ("queue is down", "https is down", "queue is down", "https is down"):
        with pytest.raises(RetryError, match=expected):
            way(first)
    queue.down = False
    assert way(first) == "queue"


def test_a_question_whose_place_a_later_one_took_says_nothing_against_the_queue(ways):
    queue, _, _, first = ways
    queue.superseded = True
    with pytest.raises(SupersededError):
        way(first)
    queue.superseded = False
    assert way(first) == "queue"
