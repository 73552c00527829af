"""What both kinds of sums whose updates nobody sees take and go with: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.privacy import CENTRAL, WHOLE, strategy

DISTRIBUTED = CENTRAL | {"mode": "Distributed"}
RANDOM = {"policy": "Random", "perRound": 4}
WHOM = {"matchLabels": {"a": "b"}}
S3 = {"s3": {"bucket": "models-of-ours", "region": "eu-west-1"}}
ADAMW = {"localSteps": 5, "optimizer": {"name": "AdamW"}}
BOTH = {"secureAggregation": {}, "homomorphicEncryption": {}}


def field(name, good, bad, *words):
    """Of the field itself."""
    return ("spec.privacy", {name: good}, {name: bad}, list(words))


def with_sum(name, good, bad, *words):
    """Of a job that has the field."""
    base = WHOLE | {"privacy": {name: {}}}
    return ("spec", base | good, base | bad, list(words))


def with_noise(name, good, bad, *words):
    """Of one whose sites add noise."""
    good, bad = ({"privacy": {name: {}, "differentialPrivacy": DISTRIBUTED | each}} for each in (good, bad))
    return with_sum(name, good, bad, *words)


def of_kind(name, least, words):
    """The cases of one kind. `least`: the fewest sites of a sum; `words`: those that only its refusals have, by what they are about."""
    return [
        ("spec.privacy", {name: {}}, {}, ["privacy says nothing: set"]),
        field(name, {"threshold": 2}, {"threshold": 1}, "threshold must be a count of at least 2 or a percentage"),
        field(
            name, {"threshold": "60%"}, {"threshold": "60"}, "threshold must be a count of at least 2 or a percentage"
        ),
        field(name, {"threshold": 1024}, {"threshold": 1025}, "threshold must be a count of at most 1024"),
        field(name, {"valueRange": "1e-9"}, {"valueRange": "0"}, "valueRange must be from 1e-9 to 1e9"),
        field(name, {"valueRange": "0.5"}, {"valueRange": "1e10"}, "valueRange must be from 1e-9 to 1e9"),
        field(name, {"overflow": "Clip"}, {"overflow": "Wrap"}, f"spec.privacy.{name}.overflow"),
        field(
            name,
            {"exchangeTimeout": "30s"},
            {"exchangeTimeout": "0s"},
            "must be a duration with its units, longer than zero",
        ),
        field(name, {"exchangeTimeout": "1s"}, {"exchangeTimeout": "999ms"}, "exchangeTimeout must be at least 1s"),
        *(
            with_sum(name, {}, strategy(refused, **numbers), f"privacy.{name} goes with strategies that add up updates")
            for refused, numbers in [("FedNova", {}), ("SCAFFOLD", {}), ("Median", {}), ("FedBuff", {"fedBuff": {}})]
        ),
        with_sum(
            name,
            strategy("DiLoCo", diLoCo={"fragments": 1}) | {"training": ADAMW},
            strategy("DiLoCo", diLoCo={"fragments": 2}) | {"training": ADAMW},
            f"{name} sums the whole model in every round",
        ),
        with_sum(
            name, {}, {"anomalies": {"action": "Warn"}}, f"single updates, which {name} hides from the aggregator: "
        ),
        with_sum(
            name,
            {"compression": {"download": {"codec": "Int8"}}},
            {"compression": {"codec": "Int8"}},
            words["compression"],
        ),
        with_sum(
            name,
            {"clients": {"overrides": [{"selector": WHOM, "batchSize": 4}]}},
            {"clients": {"overrides": [{"selector": WHOM, "modelWidth": "0.5"}]}},
            f"{words['modelWidth']} is of all numbers of all sites",
        ),
        with_sum(
            name,
            {"clients": RANDOM, "round": {"overSelection": "1"}},
            {"clients": RANDOM, "round": {"overSelection": "1.5"}},
            f"each dropped one costs {name} {words['overSelection']}",
        ),
        with_sum(
            name,
            {"storage": S3 | {"clientEncryption": {"enabled": False}}},
            {"storage": S3 | {"clientEncryption": {"enabled": True}}},
            f"remove storage.clientEncryption (and aggregator.confidential, which needs it), or {name}",
        ),
        with_sum(
            name,
            {"clients": RANDOM | {"perRound": least}},
            {"clients": RANDOM | {"perRound": least - 1}},
            f"clients.perRound is below {words['perRound']}, so no sum could hide one site's update",
        ),
        with_sum(
            name,
            {"clients": RANDOM, "privacy": {name: {"threshold": 4}}},
            {"clients": RANDOM, "privacy": {name: {"threshold": 5}}},
            f"{name}.threshold is above clients.perRound",
        ),
        with_sum(
            name,
            {},
            {"storage": S3, "events": {"sqs": {"region": "eu-west-1"}}},
            f"the steps of {name} do not travel by queue",
        ),
        with_sum(
            name,
            {"rounds": 1},
            {"rounds": 0, "task": WHOLE["task"] | {"initialModel": {"uri": "file:///m", "sha256": "a" * 64}}},
            f"no updates to sum: raise rounds, or remove privacy.{name}",
        ),
        with_noise(name, {}, {"mode": "Central"}, "Distributed needs secureAggregation or homomorphicEncryption"),
        with_noise(name, {"clipping": "Flat"}, {"clipping": "PerLayer"}, "set differentialPrivacy.clipping to Flat"),
        with_noise(
            name, {"noiseMultiplier": "1000"}, {"noiseMultiplier": "1001"}, "noiseMultiplier must be at most 1000"
        ),
        *(
            (
                "spec",
                WHOLE | {"privacy": {name: {"threshold": 2}, "differentialPrivacy": DISTRIBUTED}},
                WHOLE | {"privacy": {name: unused, "differentialPrivacy": DISTRIBUTED}},
                [f"remove {name}.valueRange and overflow"],
            )
            for unused in ({"valueRange": "1"}, {"overflow": "Clip"})
        ),
    ]


OF_EITHER = [
    with_sum(
        "secureAggregation",
        {"privacy": {"differentialPrivacy": CENTRAL}},
        {"privacy": {"differentialPrivacy": DISTRIBUTED}},
        "Distributed needs secureAggregation or homomorphicEncryption",
    ),
    (
        "spec.privacy",
        {"secureAggregation": {}},
        BOTH,
        ["secureAggregation and homomorphicEncryption exclude each other"],
    ),
]
