"""What differential privacy takes and goes with: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.stores import INITIAL, SOURCE

CENTRAL = {"mode": "Central", "clipNorm": "1.0", "noiseMultiplier": "1", "delta": "1e-5"}
DPSGD = {"maxGradNorm": "1.0", "noiseMultiplier": "1", "delta": "1e-5"}
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


MATRIX = {"matrixFactorization": {"minSeparation": 3}}
LOCAL_STEPS = {"training": {"optimizer": {"name": "AdamW", "learningRate": "0.001"}, "localSteps": 500}}
DRAWN = {"clients": {"policy": "Random", "perRound": 2}}


def with_matrix(good, bad, *words):
    base = WHOLE | DRAWN | {"privacy": {"differentialPrivacy": CENTRAL | MATRIX}}
    return ("spec", base | good, base | bad, list(words))


TURNS = WHOLE | {"clients": {"policy": "Random", "perRound": 2}}
LESS = {name: value for name, value in CENTRAL.items() if name != "noiseMultiplier"}
SUMMED = "goes with strategies that add up updates"
HIDDEN = "with mode Local a site hides the one update that it sends in a round"

PRIVACY = [
    (
        "spec.privacy",
        {"differentialPrivacy": CENTRAL},
        {},
        [
            "privacy says nothing: set privacy.differentialPrivacy, privacy.secureAggregation, privacy.homomorphicEncryption or"
        ],
    ),
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
    (
        "spec",
        TURNS | {"privacy": {"differentialPrivacy": CENTRAL | {"matrixFactorization": {"minSeparation": 2}}}},
        TURNS
        | {
            "privacy": {
                "differentialPrivacy": CENTRAL | {"matrixFactorization": {"minSeparation": 2}, "adaptiveClipping": {}}
            }
        },
        ["adaptiveClipping changes the size by the round"],
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
    with_matrix(
        {},
        {"privacy": {"differentialPrivacy": CENTRAL | MATRIX | {"mode": "Local"}}},
        "matrixFactorization correlates the noise that the aggregator adds",
    ),
    with_matrix({}, {"clients": {}}, "policy All leaves nobody for those"),
    with_matrix(
        LOCAL_STEPS | strategy("DiLoCo", diLoCo={}),
        LOCAL_STEPS | strategy("DiLoCo", diLoCo={"fragments": 2}),
        "in which another fragment travels",
    ),
    with_matrix(
        {},
        {
            "aggregator": {"confidential": {"type": "SEV-SNP", "platform": "Kata"}},
            "storage": {"clientEncryption": {"enabled": True}},
        },
        "remove it, or aggregator.confidential",
    ),
    *(
        with_matrix(
            {"privacy": {"differentialPrivacy": CENTRAL | {"matrixFactorization": good}}},
            {"privacy": {"differentialPrivacy": CENTRAL | {"matrixFactorization": bad}}},
            f"matrixFactorization.{name}",
        )
        for good, bad, name in [
            ({"minSeparation": 2}, {"minSeparation": 1}, "minSeparation"),
            ({"minSeparation": 1000}, {"minSeparation": 1001}, "minSeparation"),
            ({"minSeparation": 2, "bands": 64}, {"minSeparation": 2, "bands": 65}, "bands"),
            ({"minSeparation": 2, "bands": 2}, {"minSeparation": 2, "bands": 1}, "bands"),
        ]
    ),
]
PRIVATE_SPEC = WHOLE | {"privacy": {"differentialPrivacy": CENTRAL, "dpSGD": DPSGD}}
FIXED_PRIVACY = [  # of a job with that spec
    ("spec.privacy.differentialPrivacy.mode", "Distributed", "privacy.differentialPrivacy.mode cannot change"),
    ("spec.privacy.differentialPrivacy.delta", "1e-6", "privacy.differentialPrivacy.delta cannot change"),
    ("spec.privacy", None, "privacy.differentialPrivacy cannot be added or removed"),
    ("spec.privacy.dpSGD.delta", "1e-6", "privacy.dpSGD.delta cannot change"),
    ("spec.privacy.differentialPrivacy.mode", "Local", "privacy.differentialPrivacy.mode cannot change"),
    ("spec.privacy.dpSGD", None, "privacy.dpSGD cannot be added or removed"),
    ("spec.privacy", {"secureAggregation": {}}, "privacy.differentialPrivacy cannot be added or removed"),
]

NO_NOISE = {name: value for name, value in DPSGD.items() if name != "noiseMultiplier"}


def dpsgd(good, bad, *words):
    return ("spec.privacy", {"dpSGD": DPSGD | good}, {"dpSGD": DPSGD | bad}, list(words))


def with_dpsgd(good, bad, *words):
    base = WHOLE | {"privacy": {"dpSGD": DPSGD}}
    return ("spec", base | good, base | bad, list(words))


PRIVACY += [
    ("spec.privacy", {"dpSGD": DPSGD, "differentialPrivacy": CENTRAL}, {}, ["privacy says nothing: set"]),
    (
        "spec.privacy",
        {"dpSGD": NO_NOISE | {"targetEpsilon": "8"}},
        {"dpSGD": NO_NOISE},
        ["dpSGD needs noiseMultiplier or targetEpsilon, without which there is no noise"],
    ),
    dpsgd({"maxGradNorm": "0.001"}, {"maxGradNorm": "0"}, "maxGradNorm must be over 0"),
    dpsgd({"noiseMultiplier": "0.1"}, {"noiseMultiplier": "0.09"}, "noiseMultiplier must be from 0.1"),
    dpsgd({"noiseMultiplier": "10000"}, {"noiseMultiplier": "10001"}, "noiseMultiplier must be from 0.1"),
    dpsgd({"targetEpsilon": "0.01"}, {"targetEpsilon": "0.009"}, "targetEpsilon must be from 0.01 to 1000"),
    dpsgd({"targetEpsilon": "1000"}, {"targetEpsilon": "1001"}, "targetEpsilon must be from 0.01 to 1000"),
    dpsgd({"delta": "1e-12"}, {"delta": "0"}, "delta must be from 1e-12 to 0.1"),
    dpsgd({"delta": "0.1"}, {"delta": "0.2"}, "delta must be from 1e-12 to 0.1"),
    with_dpsgd(
        strategy("SCAFFOLD", scaffold={}),
        strategy("FedSGD"),
        "privacy.dpSGD makes steps with noise, and FedSGD makes none",
    ),
    with_dpsgd(strategy("Median"), strategy("FedSGD"), "set another strategy.name"),
    with_dpsgd(
        {"training": {"mixedPrecision": "None"}},
        {"training": {"mixedPrecision": "BFloat16"}},
        "privacy.dpSGD clips gradients in the model's own precision",
    ),
    with_dpsgd(
        {"task": WHOLE["task"] | {"initialModel": INITIAL}},
        {"restoreFrom": SOURCE},
        "with privacy.dpSGD each site keeps the account of what it has told",
    ),
]

LEAST, MOST = {"minNoiseMultiplier": "2"}, {"maxEpsilon": "8", "delta": "1e-5"}
OF_SITES = [
    demand(LEAST, {}, "requires.privacy needs secureAggregation: true, minNoiseMultiplier or maxEpsilon"),
    demand({"secureAggregation": True}, {"secureAggregation": False}, "requires.privacy needs secureAggregation: true"),
    demand(
        {"secureAggregation": True, "minNoiseMultiplier": "1000"},
        {"secureAggregation": True, "minNoiseMultiplier": "1001"},
        "with secureAggregation minNoiseMultiplier must be at most 1000",
    ),
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
