"""What asynchronous rounds go with, and what they do not: (path, accepted, refused, words of the refusal)."""

WHOLE = {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3}
FEDBUFF = {"name": "FedBuff", "fedBuff": {}}


def numbers(good, bad, *words):
    path = "spec.strategy"
    return (path, {"name": "FedBuff", "fedBuff": good}, {"name": "FedBuff", "fedBuff": bad}, list(words))


def with_fedbuff(good, bad, *words):
    base = WHOLE | {"strategy": FEDBUFF}
    return ("spec", base | good, base | bad, list(words))


ASYNCHRONOUS = [
    ("spec.strategy", FEDBUFF, {"name": "FedBuff"}, ["strategy FedBuff needs fedBuff, and no other takes it"]),
    ("spec.strategy", FEDBUFF, {"name": "FedAvg", "fedBuff": {}}, ["strategy FedBuff needs fedBuff, and no other takes it"]),
    numbers({"bufferSize": 1}, {"bufferSize": 0}, "spec.strategy.fedBuff.bufferSize"),
    numbers({"bufferSize": 10000}, {"bufferSize": 10001}, "spec.strategy.fedBuff.bufferSize"),
    numbers({"learningRate": "0.1"}, {"learningRate": "0"}, "the server's learningRate must be over 0"),
    numbers({"stalenessExponent": "0"}, {"stalenessExponent": "-1"}, "stalenessExponent must be from 0 to 10"),
    numbers({"stalenessExponent": "10"}, {"stalenessExponent": "11"}, "stalenessExponent must be from 0 to 10"),
    with_fedbuff({"round": {"maxStaleness": 0}}, {"round": {"maxStaleness": -1}}, "spec.round.maxStaleness"),
    with_fedbuff(
        {"clients": {"policy": "All"}},
        {"clients": {"policy": "Random", "perRound": 2}},
        "no policy can choose: set clients.policy to All",
    ),
    with_fedbuff(
        {"training": {"lifetime": "Job"}},
        {"training": {"lifetime": "Round"}},
        "training.lifetime Round ends their processes with each: set it to Job",
    ),
    (
        "spec",
        WHOLE | {"strategy": FEDBUFF, "round": {"maxStaleness": 3}},
        WHOLE | {"round": {"maxStaleness": 3}},
        ["round.maxStaleness is for asynchronous rounds", "set strategy.name to FedBuff, or remove it"],
    ),
]  # fmt: skip
