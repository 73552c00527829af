"""Real trainers and a real aggregator that speak by queue: RabbitMQ and moto's SQS, broken, doubled, replayed and forged."""

import asyncio
import json
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import pytest

from fedaggregator import metrics
from fedaggregator.queued.arrivals import keys as arrivals_keys
from fedapi import names
from fedapi.wire import broker, location
from fedapi.wire.broker import Sqs
from fedapi.wire.location import S3
from fedapi.wire.queued import Path as Path_
from fedapi.wire.queued import QueuedRequest
from fedqueue import sealing
from fedqueue.opening import open_queues
from fedqueue.sealing import Seal
from fedstore import history
from fedstore.opening import open_store
from tests.integration.fedaggregator.harness import UID
from tests.integration.fedtrainer.programs import Site, models
from tests.servers import rabbitmq as rabbit_server
from tests.waiting import PATIENCE_S, until


@dataclass
class Place:
    """Where a test's queues are."""

    where: broker.Broker
    credentials: Path | None
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.env = {names.ENV_QUEUES: self.where.text()}
        if self.credentials:
            self.env[names.ENV_QUEUES_CREDENTIALS_DIR] = str(self.credentials)

    @property
    def hub_queue(self):
        return broker.hub_queue(self.where.prefix, UID)

    def run(self, story):
        """A client of the test's own."""

        async def told():
            queues = open_queues(self.where, self.credentials)
            try:
                return await story(queues)
            finally:
                await queues.close()

        return asyncio.run(told())


def of_rabbit(server):
    return Place(broker.parsed(server.url.replace("guest:guest@", "")), None)


@pytest.fixture(params=["sqs", "rabbitmq"])
def place(request, tmp_path):
    if request.param == "sqs":
        server = request.getfixturevalue("moto")
        found = Place(Sqs("us-east-1", server.endpoint), server.credentials(tmp_path / "keys"))
    else:
        found = of_rabbit(request.getfixturevalue("rabbitmq"))
    yield found
    found.run(lambda queues: removed(queues, found))


async def removed(queues, place):
    for name in (place.hub_queue, *(broker.site_queue(place.where.prefix, UID, site) for site in ("site-a", "site-b"))):
        await queues.remove(name)


@pytest.fixture
def job_values():
    return {"rounds": 2}


@pytest.fixture
def queued(made, place):
    """A hub whose queues are there: a site that finds none goes over HTTPS at first."""

    def make(**values):
        told = counter(metrics.QUEUE_MESSAGES, direction="out")
        hub = made(**{"env": place.env} | values)
        until(lambda: counter(metrics.QUEUE_MESSAGES, direction="out") > told)  # that it has begun, into a site's queue
        return hub

    return make


def asked_over_https(hub):
    return sorted({each.route for each in hub.line.exchanges} & set(get_args(Path_)))


def counter(metric, **labels):
    return (metric.labels(**labels) if labels else metric)._value.get()


@pytest.fixture
def digests(tmp_path, made):
    """Of the same job without queues."""
    hub = made()
    site = Site(tmp_path / "undisturbed", hub)
    hub.give(site.initial_model("AddOne"))
    assert site.call("train", "AddOne").code == 0
    return models(hub)


def test_rounds_over_queues_ask_nothing_over_https_and_end_with_the_same_model(tmp_path, place, queued, digests):
    hub = queued()
    site = Site(tmp_path / "site", hub, env=place.env)
    hub.give(site.initial_model("AddOne"))
    hub.line.exchanges.clear()
    before = counter(metrics.QUEUE_MESSAGES, direction="in"), counter(metrics.QUEUE_MESSAGES, direction="out")
    ended = site.call("train", "AddOne")
    assert ended.code == 0, ended.log
    assert models(hub) == digests
    assert asked_over_https(hub) == []
    taken = counter(metrics.QUEUE_MESSAGES, direction="in") - before[0]
    told = counter(metrics.QUEUE_MESSAGES, direction="out") - before[1]
    assert taken <= 12, "next, evaluations and updates of two rounds, the last evaluation, and the session's beginning"
    assert told <= taken + 1


def test_larger_tensors_go_by_url_beside_the_queue(tmp_path, place, queued, digests):
    hub = queued(inline=False)
    site = Site(tmp_path / "site", hub, env=place.env)
    hub.give(site.initial_model("AddOne"))
    hub.line.exchanges.clear()
    assert site.call("train", "AddOne").code == 0
    assert models(hub) == digests
    assert asked_over_https(hub) == []
    assert hub.line.exchanges, "the volume's URLs are the aggregator's"


def test_a_site_whose_hub_has_no_queues_goes_on_over_https(tmp_path, made, place, digests):
    hub = made()
    site = Site(tmp_path / "site", hub, env=place.env)
    hub.give(site.initial_model("AddOne"))
    ended = site.call("train", "AddOne")
    assert ended.code == 0, ended.log
    assert "goes on over HTTPS" in ended.log
    assert models(hub) == digests


def test_a_restarted_hub_is_asked_again(tmp_path, place, queued, digests):
    hub = queued()
    site = Site(tmp_path / "site", hub, env=place.env)
    model = site.initial_model("AddOne")
    process = site.start("train", "AddOne")
    until(lambda: hub.job.status().get("clients", [{}])[0].get("state") == "Idle", why=lambda: site.folder)
    hub.restart()  # the question that it held is lost with it
    hub.line.exchanges.clear()
    hub.give(model)
    ended = site.end(process)
    assert ended.code == 0, ended.log
    assert models(hub) == digests
    assert asked_over_https(hub) == [], "nobody had to wait for the fallback"


@contextmanager
def doubled(place):
    """The environment of a site whose every message reaches the hub twice, as does every one to it the site, and the requests.

    Its queues have another prefix, and only what stands between reads both: nobody else is faster.
    """
    away = replace(place.where, prefix="doubled")
    ends = [
        (broker.hub_queue(away.prefix, UID), place.hub_queue),
        (broker.site_queue(place.where.prefix, UID, "site-a"), broker.site_queue(away.prefix, UID, "site-a")),
    ]
    requests: list[str] = []
    stop, ready = threading.Event(), threading.Event()

    async def passed_on(queues, source, target):
        while not stop.is_set():
            for delivery in await queues.receive(source, 1.0):
                if target == place.hub_queue:
                    requests.append(delivery.body)
                for _ in range(2):
                    await queues.send(target, delivery.body)
                await queues.settle(delivery)

    async def between(queues):
        for name in {name for names_ in ends for name in names_}:
            await queues.make(name)
        ready.set()
        await asyncio.gather(*(passed_on(queues, *way) for way in ends))
        await queues.remove(ends[0][0])
        await queues.remove(ends[1][1])

    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(place.run, between)
        until(lambda: ready.is_set() or working.done())
        try:
            yield {names.ENV_QUEUES: away.text()}, requests
        finally:
            stop.set()
            working.result(PATIENCE_S)


def test_doubled_replayed_and_forged_messages_change_nothing(tmp_path, place, queued, digests):
    hub = queued()
    dropped, updates = counter(metrics.QUEUE_DROPPED, reason="Replayed"), counter(metrics.UPDATES)
    with doubled(place) as (env, replayed):
        site = Site(tmp_path / "site", hub, env=place.env | env)
        hub.give(site.initial_model("AddOne"))
        ended = site.call("train", "AddOne")
    assert ended.code == 0, ended.log
    assert models(hub) == digests
    assert counter(metrics.UPDATES) == updates + 2
    seal = Seal(hub.token("site-a"), UID, "site-a")
    requests = [QueuedRequest.told(seal.opened("to hub", sealing.envelope(text))) for text in replayed]
    in_session = [each for each in requests if each.session]  # a question outside is answered with a session each time
    assert [each.path for each in in_session].count("updates") == 2
    until(lambda: counter(metrics.QUEUE_DROPPED, reason="Replayed") >= dropped + len(in_session))
    forged = counter(metrics.QUEUE_DROPPED, reason="Forged")
    other = Seal("0" * 64, UID, "site-a").sealed("to hub", requests[0].model_dump_json().encode())

    async def forge(queues):
        for text in (other.model_dump_json(), "nonsense", '{"Records": []}', replayed[0].replace("site-a", "site-b")):
            await queues.send(place.hub_queue, text)

    place.run(forge)
    until(lambda: counter(metrics.QUEUE_DROPPED, reason="Forged") >= forged + 4)  # a queue may deliver one again
    before = counter(metrics.QUEUE_MESSAGES, direction="out")
    hub.restart()
    until(lambda: counter(metrics.QUEUE_MESSAGES, direction="out") > before)  # the site's queue is there again
    sessions = counter(metrics.QUEUE_MESSAGES, direction="out")

    async def replay(queues):
        await queues.make(place.hub_queue)  # the job is over: its queues went with the first aggregator
        for text in replayed:
            await queues.send(place.hub_queue, text)

    place.run(replay)  # of a life before: each is offered a session, which nobody else can read
    until(lambda: counter(metrics.QUEUE_MESSAGES, direction="out") >= sessions + len(replayed))
    assert models(hub) == digests


def test_a_broker_that_is_killed_in_mid_round_delays_and_loses_nothing(tmp_path, made, digests):
    with rabbit_server.serving(tmp_path / "rabbit") as server:
        place = of_rabbit(server)
        hub = made(env=place.env)
        site = Site(tmp_path / "site", hub, env=place.env | {"TINY_HOLD": str(tmp_path / "hold")})
        model = site.initial_model("AddOne")
        (tmp_path / "hold").touch()
        process = site.start("train", "AddOneWhenLet")
        hub.give(model)
        until(lambda: hub.job.status().get("clients", [{}])[0].get("state") == "Training")
        server.process.end(signal.SIGKILL)
        until(lambda: "queues" in hub.job.status().get("queueTrouble", ""))
        (tmp_path / "hold").unlink()
        server.process.start()
        ended = site.end(process)
        assert ended.code == 0, ended.log
        assert models(hub) == digests
        until(lambda: not hub.job.status().get("queueTrouble"))


def test_with_a_bucket_a_site_needs_the_bucket_and_the_queue_alone(tmp_path, seaweedfs, place, queued, digests):
    """And what the bucket, or somebody else, says of arrivals changes nothing but what is looked at early."""
    bucket = seaweedfs.place(seaweedfs.shared_bucket, prefix=f"jobs/{tmp_path.name}")
    credentials = seaweedfs.credentials(tmp_path / "store-credentials")
    arrivals = f"arrivals-{uuid.uuid4()}"
    store = {
        names.ENV_STORE: bucket,
        names.ENV_STORE_CREDENTIALS_DIR: str(credentials),
        names.ENV_ARRIVALS_QUEUE: arrivals,
    }
    place.run(lambda queues: queues.make(arrivals))
    hub = queued(env=place.env | store)
    away = {names.ENV_AGGREGATOR_URL: "https://127.0.0.1:1"}  # where nobody is
    site = Site(tmp_path / "site", hub, env=place.env | away | {"TINY_HOLD": str(tmp_path / "hold")})
    hub.give(site.initial_model("AddOne"))
    looked, foreign = (counter(metrics.ARRIVALS, outcome=outcome) for outcome in ("Looked", "Foreign"))
    (tmp_path / "hold").touch()
    process = site.start("train", "AddOneWhenLet")
    until(lambda: hub.job.status().get("clients", [{}])[0].get("state") == "Training")
    prefix = location.parsed(bucket).prefix
    awaited = hub.job.layout.update("site-a", 1, "ab" * 32)

    async def told(queues):
        for key in (f"{prefix}/{awaited}", f"{prefix}/{awaited}", f"elsewhere/{awaited}", f"{prefix}/HEAD.json"):
            said = {"bucket": {"name": seaweedfs.shared_bucket}, "object": {"key": key}}
            await queues.send(arrivals, json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": said}]}))
        await queues.send(arrivals, '{"Event": "s3:TestEvent"}')

    place.run(told)
    until(lambda: counter(metrics.ARRIVALS, outcome="Looked") == looked + 2)  # there is no such object: nothing follows
    until(lambda: counter(metrics.ARRIVALS, outcome="Foreign") == foreign + 1)
    (tmp_path / "hold").unlink()
    ended = site.end(process)
    assert ended.code == 0, ended.log
    kept = open_store(bucket, credentials)
    assert [each.record.model.sha256 for each in history.committed(kept, hub.job.layout)] == digests
    assert asked_over_https(hub) == []
    place.run(lambda queues: queues.remove(arrivals))


def test_notifications_of_a_bucket_name_what_arrived(moto, tmp_path):
    """As S3 itself words them, through a real notification of moto's."""
    place = Place(Sqs("us-east-1", moto.endpoint), moto.credentials(tmp_path / "keys"))
    s3, bucket, queue = moto.client("s3"), f"models-{uuid.uuid4().hex[:8]}", f"arrivals-{uuid.uuid4()}"
    place.run(lambda queues: queues.make(queue))
    sqs = moto.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    s3.create_bucket(Bucket=bucket)
    wanted = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [wanted]})
    s3.put_object(Bucket=bucket, Key="jobs/a/updates/x y=z", Body=b"1")
    s3.put_object(Bucket=bucket, Key="other/b", Body=b"1")

    async def read(queues):
        found = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < 3:  # the configuration is told, too
                found += [each.body for each in await queues.receive(queue, 1.0)]
        return [key for body in found for key in arrivals_keys(body, S3(bucket, "jobs/a"))]

    assert place.run(read) == ["updates/x y=z"]
    for client in (s3, sqs):
        client.close()
