"""Queues, and keys of entrusted state, that a job and a site may and may not name: (path, accepted, refused, words of the refusal)."""

SECRET = {"credentialsSecretRef": {"name": "fedloom-queue-hub"}}
RABBIT, SQS = {"host": "broker.example"} | SECRET, {"region": "eu-central-1"}
EVENTS, STATE = "spec.events", "spec.entrustedState"
KEY = {"keySecretRef": {"name": "fedloom-state-key-a"}}


def job(storage, events):
    """The whole spec, for the rule between the two."""
    return {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3, "storage": storage, "events": events}


OF_JOBS = [
    (EVENTS, {"rabbitMQ": RABBIT}, {"rabbitMQ": RABBIT, "sqs": SQS}, ["sqs or rabbitMQ, one of them"]),
    (EVENTS, {"sqs": SQS}, {}, ["sqs or rabbitMQ, one of them"]),
    (f"{EVENTS}.rabbitMQ", RABBIT | {"port": 5672, "tls": False}, {"host": "broker.example"}, ["credentialsSecretRef"]),
    (f"{EVENTS}.rabbitMQ", RABBIT | {"vhost": "lab/a"}, RABBIT | {"host": "user:word@broker"}, ["rabbitMQ.host"]),
    (f"{EVENTS}.rabbitMQ", RABBIT | {"queuePrefix": "a-b_1"}, RABBIT | {"queuePrefix": "a.b"}, ["queuePrefix"]),
    (f"{EVENTS}.sqs", SQS | SECRET, SQS | {"credentialsSecretRef": {"name": "keys"}}, ["begin with fedloom-queue-"]),
    (f"{EVENTS}.sqs", SQS | {"endpoint": "http://sqs:9324"}, SQS | {"endpoint": "sqs:9324"}, ["sqs.endpoint"]),
    (
        "spec",
        job({"s3": {"bucket": "models"}}, {"sqs": SQS, "arrivals": "updates"}),
        job({"volume": {}}, {"sqs": SQS, "arrivals": "updates"}),
        ["events.arrivals goes with storage.s3"],
    ),
    (
        "spec",
        {**job({"volume": {}}, {"sqs": SQS}), "clients": {"certificates": "Optional"}},
        {**job({"volume": {}}, {"sqs": SQS}), "clients": {"certificates": "Required"}},
        ["events goes with clients.certificates Optional", "remove events"],
    ),
]
OF_SITES = [
    (EVENTS, {}, {"credentialsSecretRef": {"name": "fedloom-store-hub"}}, ["begin with fedloom-queue-"]),
    (EVENTS, SECRET, {"credentialsSecretRef": {}}, ["credentialsSecretRef.name"]),
    (STATE, KEY, {}, ["entrustedState.keySecretRef"]),
    (STATE, KEY, {"keySecretRef": {"name": "fedloom-queue-hub"}}, ["begin with fedloom-state-key-"]),
    (STATE, KEY | {"keepLast": 16}, KEY | {"keepLast": 17}, ["keepLast"]),
    (STATE, KEY | {"everyRounds": 5}, KEY | {"everyRounds": 0}, ["everyRounds"]),
]
