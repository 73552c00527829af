"""Where queues are, as text, and what they are called."""

import re

import pytest

from fedapi.wire import broker
from fedapi.wire.broker import DEAD, InMemory, RabbitMQ, Sqs, UnknownBrokerError


@pytest.mark.parametrize(
    "place",
    [
        RabbitMQ("broker.example", 5671),
        RabbitMQ("::1", 5672, "a/b", tls=False, prefix="team"),
        Sqs("eu-central-1"),
        Sqs("eu-central-1", "http://127.0.0.1:5555", "team_a"),
        InMemory("x"),
    ],
)
def test_a_place_is_read_as_it_is_said(place):
    assert broker.parsed(place.text()) == place


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("https://broker", "amqp://HOST"),
        ("amqp://user:hunter2@broker:5672/", "amqp://HOST"),
        ("amqp://broker:x/", "amqp://HOST"),
        ("sqs:team", "region=REGION"),
        ("sqs:team?region=x&secret=y", "region=REGION"),
        ("sqs:a.b?region=x", "letters, digits"),
        (f"sqs:{'a' * 21}?region=x", "1 to 20"),
        ("", "amqp://HOST"),
    ],
)
def test_what_names_no_place_is_refused_with_the_way_out_and_without_a_password(text, way_out):
    with pytest.raises(UnknownBrokerError) as error:
        broker.parsed(text)
    assert way_out in str(error.value)
    assert "hunter2" not in str(error.value)


def test_the_longest_names_fit_into_every_broker():
    uid, prefix = "6f1c2d3e-0000-4000-8000-123456789abc", "p" * 20
    names = [broker.hub_queue(prefix, uid), broker.site_queue(prefix, uid, "ü" * 253)]
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name + DEAD)
    assert len({*names, broker.site_queue(prefix, uid, "other")}) == 3
