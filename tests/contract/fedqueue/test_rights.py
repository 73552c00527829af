"""The rights that docs/events.md names for RabbitMQ are enough for the hub and for a site, and give a site no more."""

import asyncio
import os
import re
import subprocess
import uuid
from pathlib import Path

import pytest

from fedapi.wire import broker
from fedqueue.errors import QueueDeniedError, QueueMissingError
from fedqueue.opening import open_queues
from tests.waiting import PATIENCE_S

DOCS = Path(__file__).parents[3] / "docs" / "events.md"
CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"


def documented(who, digest):
    """Configure, write, read."""
    (row,) = (line for line in DOCS.read_text().splitlines() if line.startswith(f"| {who} | `^"))
    cells = re.findall(r"`([^`]*)`", row.replace("\\|", "|"))
    return [cell.replace("PREFIX", "fedloom").replace("DIGEST", digest) for cell in cells]


@pytest.fixture
def users(rabbitmq, tmp_path):
    uid = str(uuid.uuid4())
    site = broker.site_queue("fedloom", uid, "a")
    env = {**os.environ, **rabbitmq.process.env}

    def control(*words):
        command = [CTL, "-n", rabbitmq.process.env["RABBITMQ_NODENAME"], *words]
        subprocess.run(command, env=env, check=True, capture_output=True)

    for who in ("aggregator", "site"):
        name = f"{who}-{uid}"
        control("add_user", name, name)
        control("set_permissions", name, *documented(who, site.rpartition("-")[2]))
        (tmp_path / who).mkdir()
        for file in ("username", "password"):
            (tmp_path / who / file).write_text(name)
    return uid, broker.parsed(rabbitmq.url.replace("guest:guest@", "")), tmp_path


def test_a_site_sends_to_the_hub_and_receives_its_own_and_nothing_else(users):
    uid, place, folder = users
    hub_queue, own, other = broker.hub_queue("fedloom", uid), *(broker.site_queue("fedloom", uid, c) for c in "ab")

    async def story():
        hub, site = open_queues(place, folder / "aggregator"), open_queues(place, folder / "site")
        for name in (hub_queue, own, other):
            await hub.make(name)
        await site.send(hub_queue, "asked")
        await hub.send(own, "answered")
        (asked,) = await hub.receive(hub_queue, PATIENCE_S)
        (answered,) = await site.receive(own, PATIENCE_S)
        assert (asked.body, answered.body) == ("asked", "answered")
        await site.settle(answered)
        for theirs in (hub_queue, other):
            with pytest.raises(QueueDeniedError):
                await site.receive(theirs, 0.1)
        with pytest.raises(QueueMissingError):
            await site.make("fedloom-more")
        await site.send(hub_queue, "goes on")
        for name in (hub_queue, own, other):
            await hub.remove(name)
        await hub.close()
        await site.close()

    asyncio.run(story())
