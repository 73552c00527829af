"""What differential privacy takes and goes with: (path, accepted, refused, words of the refusal)."""

CENTRAL = {"mode": "Central", "clipNorm": "1.0", "noiseMultiplier": "1", "delta": "1e-5"}
WHOLE = {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3}


def numbers(good, bad, *words):
    return (
        "spec.privacy",
        {"differentialPrivacy": CENTRAL | good},
        {"differentialPrivacy": CENTRAL | bad},
        list(words),
    )


def with_privacy(good, bad, *words):
    base = WHOLE | {"privacy": {"differentialPrivacy": CENTRAL}}
    return ("spec", base | good, base | bad, list(words))


def strategy(name, **numbers):
    return {"strategy": {"name": name, **numbers}}


LESS = {name: value for name, value in CENTRAL.items() if name != "noiseMultiplier"}
SUMMED = "goes with strategies that add up updates"

PRIVACY = [
    (
        "spec.privacy",
        {"differentialPrivacy": LESS | {"targetEpsilon": "8"}},
        {"differentialPrivacy": LESS},
        ["differentialPrivacy needs noiseMultiplier or targetEpsilon, without which there is no noise"],
    ),
    numbers({"mode": "Central"}, {"mode": "Global"}, "spec.privacy.differentialPrivacy.mode"),
    numbers({"clipNorm": "0.001"}, {"clipNorm": "0"}, "clipNorm must be over 0"),
    numbers({"clipNorm": "1e9"}, {"clipNorm": "-1"}, "clipNorm must be over 0"),
    numbers({"clipping": "PerLayer"}, {"clipping": "PerSample"}, "spec.privacy.differentialPrivacy.clipping"),
    numbers({"noiseMultiplier": "0.01"}, {"noiseMultiplier": "0"}, "noiseMultiplier must be from 0.01"),
    numbers({"noiseMultiplier": "1e6"}, {"noiseMultiplier": "1e7"}, "noiseMultiplier must be from 0.01"),
    numbers({"targetEpsilon": "1000"}, {"targetEpsilon": "1001"}, "targetEpsilon must be from 0.001 to 1000"),
    numbers({"targetEpsilon": "0.001"}, {"targetEpsilon": "0"}, "targetEpsilon must be from 0.001 to 1000"),
    numbers({"delta": "1e-15"}, {"delta": "0"}, "delta must be from 1e-15 to 0.1"),
    numbers({"delta": "0.1"}, {"delta": "0.2"}, "delta must be from 1e-15 to 0.1"),
    *(
        with_privacy({}, strategy(*refused[:1], **refused[1]), SUMMED)
        for refused in [
            ("FedNova", {}),
            ("SCAFFOLD", {}),
            ("Median", {}),
            ("Krum", {"krum": {"byzantine": 1}}),
            ("NormClipping", {"normClipping": {"maxNorm": "1"}}),
            ("FedBuff", {"fedBuff": {}}),
            ("FLTrust", {"flTrust": {"rootClient": "a"}}),
        ]
    ),
    with_privacy(strategy("FedAvg"), strategy("GeometricMedian", geometricMedian={}), SUMMED),
    with_privacy(
        {"clients": {"overrides": [{"selector": {"matchLabels": {"a": "b"}}, "batchSize": 4}]}},
        {"clients": {"overrides": [{"selector": {"matchLabels": {"a": "b"}}, "modelWidth": "0.5"}]}},
        "sub-models are averaged over the sites that have a number, and how many have it tells who took part",
    ),
    with_privacy(
        {"clients": {"policy": "Random", "perRound": 2}, "round": {"overSelection": "1"}},
        {"clients": {"policy": "Random", "perRound": 2}, "round": {"overSelection": "1.5"}},
        "another site's update counts where one stays away",
    ),
]
PRIVATE_SPEC = WHOLE | {"privacy": {"differentialPrivacy": CENTRAL}}
FIXED_PRIVACY = [  # of a job with that spec
    ("spec.privacy.differentialPrivacy.mode", "Distributed", "privacy.differentialPrivacy.mode cannot change"),
    ("spec.privacy.differentialPrivacy.delta", "1e-6", "privacy.differentialPrivacy.delta cannot change"),
    ("spec.privacy", None, "privacy cannot be added or removed"),
    ("spec.privacy", {"secureAggregation": {}}, "privacy.differentialPrivacy cannot be added or removed"),
]
