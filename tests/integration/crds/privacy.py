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


def with_local_privacy(good, bad, *words):
    base = WHOLE | {"privacy": {"differentialPrivacy": CENTRAL | {"mode": "Local"}}}
    return ("spec", base | good, base | bad, list(words))


def demand(good, bad, *words):
    """What a site demands of the noise, with the volume that it remembers its updates on."""
    site = {"provider": "OnPremises", "state": {"persistentVolumeClaim": {"claimName": "a"}}}
    return (
        "spec",
        site | {"requires": {"privacy": good}},
        site | {"requires": {"privacy": bad}},
        list(words),
    )


def strategy(name, **numbers):
    return {"strategy": {"name": name, **numbers}}


LESS = {name: value for name, value in CENTRAL.items() if name != "noiseMultiplier"}
SUMMED = "goes with strategies that add up updates"
HIDDEN = "with mode Local a site hides the one update that it sends in a round"

PRIVACY = [
    ("spec.privacy", {"differentialPrivacy": CENTRAL}, {}, ["spec.privacy.differentialPrivacy"]),
    (
        "spec.privacy",
        {"differentialPrivacy": LESS | {"targetEpsilon": "8"}},
        {"differentialPrivacy": LESS},
        ["differentialPrivacy needs noiseMultiplier or targetEpsilon, without which there is no noise"],
    ),
    numbers({"mode": "Local"}, {"mode": "Global"}, "spec.privacy.differentialPrivacy.mode"),
    numbers({"clipNorm": "0.001"}, {"clipNorm": "0"}, "clipNorm must be over 0"),
    numbers({"clipNorm": "1e9"}, {"clipNorm": "-1"}, "clipNorm must be over 0"),
    numbers({"clipping": "PerLayer"}, {"clipping": "PerSample"}, "spec.privacy.differentialPrivacy.clipping"),
    numbers({"noiseMultiplier": "0.01"}, {"noiseMultiplier": "0"}, "noiseMultiplier must be from 0.01"),
    numbers({"noiseMultiplier": "1e6"}, {"noiseMultiplier": "1e7"}, "noiseMultiplier must be from 0.01"),
    numbers({"targetEpsilon": "1000"}, {"targetEpsilon": "1001"}, "targetEpsilon must be from 0.001 to 1000"),
    numbers({"targetEpsilon": "0.001"}, {"targetEpsilon": "0"}, "targetEpsilon must be from 0.001 to 1000"),
    numbers({"delta": "1e-15"}, {"delta": "0"}, "delta must be from 1e-15 to 0.1"),
    numbers({"delta": "0.1"}, {"delta": "0.2"}, "delta must be from 1e-15 to 0.1"),
    numbers(
        {"adaptiveClipping": {}}, {"adaptiveClipping": {}, "mode": "Local"}, "goes with mode Central and clipping Flat"
    ),
    numbers(
        {"adaptiveClipping": {}},
        {"adaptiveClipping": {}, "clipping": "PerLayer"},
        "goes with mode Central and clipping Flat",
    ),
    *(
        numbers({"adaptiveClipping": good}, {"adaptiveClipping": bad}, *words)
        for good, bad, words in [
            ({"targetQuantile": "0.9"}, {"targetQuantile": "1"}, ["targetQuantile must be over 0 and under 1"]),
            ({"learningRate": "5"}, {"learningRate": "0"}, ["learningRate must be over 0 and at most 5"]),
            ({"countNoise": "1000000"}, {"countNoise": "0"}, ["countNoise must be over 0"]),
            ({"countNoise": "0.6"}, {"countNoise": "0.5"}, ["countNoise must be over half of noiseMultiplier"]),
        ]
    ),
    (
        "spec.privacy",
        {"differentialPrivacy": LESS | {"targetEpsilon": "8", "adaptiveClipping": {}}},
        {"differentialPrivacy": LESS | {"targetEpsilon": "8", "adaptiveClipping": {"countNoise": "9"}}},
        ["countNoise must be over half of noiseMultiplier, which it goes with"],
    ),
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
    *(
        with_local_privacy(strategy(good, **numbers), strategy(bad, **refused), HIDDEN)
        for good, numbers, bad, refused in [
            ("FedNova", {}, "SCAFFOLD", {}),
            ("Median", {}, "FedBuff", {"fedBuff": {}}),
            ("FLTrust", {"flTrust": {"rootClient": "a"}}, "Custom", {"custom": {"name": "a.b"}}),
        ]
    ),
    with_local_privacy(
        {"clients": {"overrides": [{"selector": {"matchLabels": {"a": "b"}}, "modelWidth": "0.5"}]}},
        strategy("SCAFFOLD"),
        HIDDEN,
    ),
    with_local_privacy({"anomalies": {}}, strategy("SCAFFOLD"), HIDDEN),
    with_local_privacy(
        {"clients": {"policy": "Random", "perRound": 2}, "round": {"overSelection": "1.5"}},
        strategy("SCAFFOLD"),
        HIDDEN,
    ),
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
    ("spec.privacy.differentialPrivacy.delta", "1e-6", "privacy.differentialPrivacy.delta cannot change"),
    ("spec.privacy.differentialPrivacy.mode", "Local", "privacy.differentialPrivacy.mode cannot change"),
    ("spec.privacy", None, "privacy cannot be added or removed"),
]

LEAST, MOST = {"minNoiseMultiplier": "2"}, {"maxEpsilon": "8", "delta": "1e-5"}
OF_SITES = [
    demand(LEAST, {}, "requires.privacy needs minNoiseMultiplier or maxEpsilon"),
    demand(MOST, {"maxEpsilon": "8"}, "maxEpsilon needs delta"),
    demand(LEAST | MOST, LEAST | {"delta": "1e-5"}, "maxEpsilon needs delta"),
    demand({"minNoiseMultiplier": "0.01"}, {"minNoiseMultiplier": "0"}, "minNoiseMultiplier must be from 0.01"),
    demand({"minNoiseMultiplier": "1e6"}, {"minNoiseMultiplier": "1e7"}, "minNoiseMultiplier must be from 0.01"),
    demand(MOST | {"maxEpsilon": "1000"}, MOST | {"maxEpsilon": "1001"}, "maxEpsilon must be from 0.001 to 1000"),
    demand(MOST | {"maxEpsilon": "0.001"}, MOST | {"maxEpsilon": "0"}, "maxEpsilon must be from 0.001 to 1000"),
    demand(MOST | {"delta": "0.1"}, MOST | {"delta": "0"}, "delta must be from 1e-15 to 0.1"),
    (
        "spec",
        {"provider": "OnPremises", "requires": {"privacy": LEAST}},
        {"provider": "OnPremises", "requires": {"privacy": MOST}},
        ["what the site remembers of its updates", "set state.persistentVolumeClaim"],
    ),
]
