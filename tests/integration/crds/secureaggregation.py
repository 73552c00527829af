"""What secure aggregation takes and goes with: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.privacy import CENTRAL, WHOLE, strategy

MASKED = {"secureAggregation": {}}


def field(good, bad, *words):
    return ("spec.privacy", {"secureAggregation": good}, {"secureAggregation": bad}, list(words))


def with_masks(good, bad, *words):
    base = WHOLE | {"privacy": MASKED}
    return ("spec", base | good, base | bad, list(words))


DISTRIBUTED = CENTRAL | {"mode": "Distributed"}


def with_noise(good, bad, *words):
    good, bad = ({"privacy": MASKED | {"differentialPrivacy": DISTRIBUTED | each}} for each in (good, bad))
    return with_masks(good, bad, *words)


GROUPED = {"secureAggregation": {"groups": {"size": 3}}}
ROBUST = [("Median", {}), ("Krum", {"krum": {"byzantine": 1}}), ("GeometricMedian", {"geometricMedian": {}})]


def with_groups(good, bad, *words):
    base = WHOLE | {"privacy": GROUPED}
    return ("spec", base | good, base | bad, list(words))


SUMMED = "secureAggregation goes with strategies that add up updates"
RANDOM = {"policy": "Random", "perRound": 4}
WHOM = {"matchLabels": {"a": "b"}}
S3 = {"s3": {"bucket": "models-of-ours", "region": "eu-west-1"}}
ADAMW = {"localSteps": 5, "optimizer": {"name": "AdamW"}}

SECURE = [
    ("spec.privacy", MASKED, {}, ["privacy says nothing: set"]),
    field({"threshold": 2}, {"threshold": 1}, "threshold must be a count of at least 2 or a percentage"),
    field({"threshold": "60%"}, {"threshold": "60"}, "threshold must be a count of at least 2 or a percentage"),
    field({"threshold": 1024}, {"threshold": 1025}, "threshold must be a count of at most 1024"),
    field({"colluding": 0}, {"colluding": -1}, "spec.privacy.secureAggregation.colluding"),
    field({"valueRange": "1e-9"}, {"valueRange": "0"}, "valueRange must be from 1e-9 to 1e9"),
    field({"valueRange": "0.5"}, {"valueRange": "1e10"}, "valueRange must be from 1e-9 to 1e9"),
    field({"overflow": "Clip"}, {"overflow": "Wrap"}, "spec.privacy.secureAggregation.overflow"),
    field({"exchangeTimeout": "30s"}, {"exchangeTimeout": "0s"}, "must be a duration longer than zero"),
    *(
        with_masks({}, strategy(*refused[:1], **refused[1]), SUMMED)
        for refused in [("FedNova", {}), ("SCAFFOLD", {}), ("Median", {}), ("FedBuff", {"fedBuff": {}})]
    ),
    with_masks(
        strategy("DiLoCo", diLoCo={"fragments": 1}) | {"training": ADAMW},
        strategy("DiLoCo", diLoCo={"fragments": 2}) | {"training": ADAMW},
        "secureAggregation sums the whole model in every round",
    ),
    with_masks({}, {"anomalies": {"action": "Warn"}}, "anomalies are looked for in single updates"),
    field({"groups": {"size": 3}}, {"groups": {"size": 2}}, "groups.size is below colluding + 2"),
    field({"groups": {"size": 3, "minimum": 3}}, {"groups": {"size": 3, "minimum": 2}}, "groups.minimum"),
    *(with_groups(strategy(name, **more), strategy("FedNova"), SUMMED) for name, more in ROBUST),
    with_groups(
        {"anomalies": {"action": "Exclude"}},
        {"anomalies": {"action": "Suspend"}},
        "nobody can tell which site of a group is anomalous",
    ),
    with_groups(
        {"clients": RANDOM | {"perRound": 9}},
        {"clients": RANDOM | {"perRound": 8}},
        "clients.perRound is below secureAggregation.groups.size times groups.minimum",
    ),
    (
        "spec",
        WHOLE | {"privacy": MASKED | {"differentialPrivacy": DISTRIBUTED}},
        WHOLE | {"privacy": GROUPED | {"differentialPrivacy": DISTRIBUTED}},
        ["groups does not go with differentialPrivacy"],
    ),
    with_masks(
        {"compression": {"download": {"codec": "Int8"}}},
        {"compression": {"codec": "Int8"}},
        "masked updates cannot be compressed",
    ),
    with_masks(
        {"clients": {"overrides": [{"selector": WHOM, "batchSize": 4}]}},
        {"clients": {"overrides": [{"selector": WHOM, "modelWidth": "0.5"}]}},
        "a sum under masks is of all numbers of all sites",
    ),
    with_masks(
        {"clients": RANDOM, "round": {"overSelection": "1"}},
        {"clients": RANDOM, "round": {"overSelection": "1.5"}},
        "each dropped one costs secureAggregation a recovery of its masks",
    ),
    with_masks(
        {"storage": S3 | {"clientEncryption": {"enabled": False}}},
        {"storage": S3 | {"clientEncryption": {"enabled": True}}},
        "remove storage.clientEncryption",
    ),
    with_masks(
        {"clients": RANDOM | {"perRound": 3}},
        {"clients": RANDOM | {"perRound": 2}},
        "clients.perRound is below secureAggregation.colluding + 2",
    ),
    with_masks(
        {"clients": RANDOM, "privacy": {"secureAggregation": {"threshold": 4}}},
        {"clients": RANDOM, "privacy": {"secureAggregation": {"threshold": 5}}},
        "secureAggregation.threshold is above clients.perRound",
    ),
    with_masks({}, {"storage": S3, "events": {"sqs": {"region": "eu-west-1"}}}, "do not travel by queue"),
    with_masks(
        {"rounds": 1},
        {"rounds": 0, "task": WHOLE["task"] | {"initialModel": {"uri": "file:///m", "sha256": "a" * 64}}},
        "rounds 0 trains nothing",
    ),
    with_noise({}, {"mode": "Central"}, "Distributed and secureAggregation need each other"),
    with_masks(
        {"privacy": {"differentialPrivacy": CENTRAL}},
        {"privacy": {"differentialPrivacy": DISTRIBUTED}},
        "Distributed and secureAggregation need each other",
    ),
    with_noise({"clipping": "Flat"}, {"clipping": "PerLayer"}, "set differentialPrivacy.clipping to Flat"),
    with_noise({"noiseMultiplier": "1000"}, {"noiseMultiplier": "1001"}, "noiseMultiplier must be at most 1000"),
    *(
        (
            "spec",
            WHOLE | {"privacy": {"secureAggregation": {"colluding": 1}, "differentialPrivacy": DISTRIBUTED}},
            WHOLE | {"privacy": {"secureAggregation": unused, "differentialPrivacy": DISTRIBUTED}},
            ["remove secureAggregation.valueRange and overflow"],
        )
        for unused in ({"valueRange": "1"}, {"overflow": "Clip"})
    ),
]
SECURE_SPEC = WHOLE | {"privacy": MASKED}
FIXED_SECURE = [  # of a job with that spec
    ("spec.privacy", None, "privacy.secureAggregation cannot be added or removed"),
    ("spec.privacy", {"differentialPrivacy": CENTRAL}, "privacy.secureAggregation cannot be added or removed"),
]
