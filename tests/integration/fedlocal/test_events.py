"""Queues without a cluster: one site by RabbitMQ, one over HTTPS, in the processes of `fedloom run`."""

import json

from fedapi.wire import broker
from tests.integration.fedlocal.runs import SITES, Lab, document, finish, job, site

NAME = "fedloom-queue-lab"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": NAME},
    "stringData": {"username": "guest", "password": "guest"},
}
REF = {"credentialsSecretRef": {"name": NAME}}


def events(rabbitmq):
    place = broker.parsed(rabbitmq.url.replace("guest:guest@", ""))
    return {"rabbitMQ": {"host": place.host, "port": place.port, "tls": False} | REF}


def by_queue(name):
    body = site(name)
    return document("FLClient", name, **(body["spec"] | {"events": REF}))


def test_a_run_by_queue_ends_with_the_same_model(tmp_path, rabbitmq):
    digests = []
    for name, spec, sites in (
        ("plain", {}, SITES),
        ("queued", {"events": events(rabbitmq)}, (by_queue("north"), site("south"), SECRET)),
    ):
        lab = Lab.of(tmp_path / name, job(**spec), *sites)
        code, output = finish(lab.start())
        assert code == 0, output
        digests.append(lab.digest())
    assert digests[0] == digests[1]
    status = json.loads((lab.state / "job.json").read_text())["status"]
    assert "QueuesReady" in {condition["type"] for condition in status["conditions"]}
    assert "queueTrouble" not in status


def test_a_secret_of_queues_that_no_manifest_holds_is_named(tmp_path, rabbitmq):
    lab = Lab.of(tmp_path / "lab", job(events=events(rabbitmq)), by_queue("north"), site("south"))
    code, output = finish(lab.start())
    assert code != 0
    assert "spec.events.rabbitMQ.credentialsSecretRef.name" in output
    assert "spec.events.credentialsSecretRef.name" in output
