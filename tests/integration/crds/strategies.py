"""Strategies that a job may and may not ask for: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.anomalies import ANOMALIES
from tests.integration.crds.asynchronous import ASYNCHRONOUS
from tests.integration.crds.homomorphicencryption import ENCRYPTED
from tests.integration.crds.privacy import PRIVACY
from tests.integration.crds.secureaggregation import SECURE

STRATEGY = "spec.strategy"
WHOLE = {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3}
ONE_OF = "needs {}, and no other takes it"
NEIGHBOURS = {"name": "NearestNeighbourMixing", "byzantine": 1}


def own(name, field, good):
    """A strategy's own field: missing, and beside another strategy."""
    words = [f"spec.strategy.{field}", f"strategy {name} needs {field}, and no other takes it"]
    whole = {"name": name, field: good}
    return [(STRATEGY, whole, {"name": name}, words), (STRATEGY, whole, {"name": "FedAvg", field: good}, words)]


def number(name, field, part, good, bad, *words):
    """A number of a strategy."""
    return (
        STRATEGY,
        {"name": name, field: good},
        {"name": name, field: bad},
        [f"spec.strategy.{field}.{part}", *words],
    )


def drawn(strategy, per_round):
    return WHOLE | {"strategy": strategy, "clients": {"policy": "Random", "perRound": per_round}}


def needs(strategy, least, *words):
    """A draw of fewer sites than a rule is defined for."""
    return ("spec", drawn(strategy, least), drawn(strategy, least - 1), ["spec.clients.perRound", *words])


def nova(**training):
    return WHOLE | {"strategy": {"name": "FedNova"}, "training": training}


def only_sgd(good, bad):
    words = ["spec.training.optimizer", "strategy FedNova knows how far steps of SGD", "remove warmupSteps"]
    return ("spec", nova(**good), nova(**bad), words)


def at_sites(name, field, good, bad, *words):
    """What a strategy asks of spec.training."""
    strategy = {"strategy": {"name": name, field: {}}}
    return ("spec", WHOLE | strategy | {"training": good}, WHOLE | strategy | {"training": bad}, words)


H_STEPS = {"localSteps": 500, "optimizer": {"name": "AdamW"}}


def fedsgd(override):
    overrides = [{"selector": {}, **override}]
    return WHOLE | {"strategy": {"name": "FedSGD", "fedSGD": {}}, "clients": {"overrides": overrides}}


def diloco(numbers=None):
    return WHOLE | {"strategy": {"name": "DiLoCo", "diLoCo": numbers or {}}, "training": H_STEPS}


def otherwise(spec, good, bad, *words):
    """What a strategy asks of spec.clients.overrides."""
    return ("spec", *(spec | {"clients": {"overrides": [{"selector": {}} | each]}} for each in (good, bad)), words)


RATE, TAU = "the server's learningRate must be over 0", "tau must be from 1e-9 to 1e9"
STRATEGIES = [
    *own("FedAdagrad", "fedAdagrad", {}),
    *own("FedAdam", "fedAdam", {}),
    *own("FedYogi", "fedYogi", {}),
    *own("TrimmedMean", "trimmedMean", {"byzantine": 1}),
    *own("Krum", "krum", {"byzantine": 1}),
    *own("MultiKrum", "multiKrum", {"byzantine": 1}),
    *own("GeometricMedian", "geometricMedian", {}),
    *own("Bulyan", "bulyan", {"byzantine": 1}),
    *own("NormClipping", "normClipping", {"maxNorm": "1"}),
    *own("FLTrust", "flTrust", {"rootClient": "hub"}),
    number("FLTrust", "flTrust", "rootClient", {"rootClient": "hub-1"}, {"rootClient": "Hub"}, "Hub"),
    *own("Custom", "custom", {"name": "mine"}),
    number("Custom", "custom", "name", {"name": "a.b_c-1"}, {"name": "a/b"}, "a/b"),
    number(
        "Custom",
        "custom",
        "parameters",
        {"name": "mine", "parameters": {"a_1": "1"}},
        {"name": "mine", "parameters": {"a": "high"}},
        "high",
    ),
    *[
        case
        for name, field in (("FedAdagrad", "fedAdagrad"), ("FedAdam", "fedAdam"), ("FedYogi", "fedYogi"))
        for case in (
            number(name, field, "learningRate", {"learningRate": "1e-3"}, {"learningRate": "-1"}, RATE),
            number(name, field, "beta1", {"beta1": "0"}, {"beta1": "1"}, "beta1 must be from 0 and below 1"),
            number(name, field, "tau", {"tau": "1e-9"}, {"tau": "0"}, TAU),
        )
    ],
    number("FedAdam", "fedAdam", "beta2", {"beta2": "0.999"}, {"beta2": "1"}, "beta2 must be from 0 and below 1"),
    number("FedYogi", "fedYogi", "beta2", {"beta2": "0"}, {"beta2": "-0.1"}, "beta2 must be from 0 and below 1"),
    *[
        number(name, field, "byzantine", {"byzantine": 1000}, {"byzantine": bad}, *words)
        for name, field in (
            ("TrimmedMean", "trimmedMean"),
            ("Krum", "krum"),
            ("MultiKrum", "multiKrum"),
            ("Bulyan", "bulyan"),
        )
        for bad, words in ((0, ["greater than or equal to 1"]), (1001, ["1000"]))
    ],
    number("Krum", "krum", "byzantine", {"byzantine": 1}, {}, "Required value"),
    number(
        "GeometricMedian",
        "geometricMedian",
        "iterations",
        {"iterations": 100},
        {"iterations": 0},
        "greater than or equal to 1",
    ),
    number(
        "GeometricMedian",
        "geometricMedian",
        "smoothing",
        {"smoothing": "1e-30"},
        {"smoothing": "0"},
        "smoothing must be from 1e-30 to 1e30",
    ),
    number(
        "NormClipping",
        "normClipping",
        "maxNorm",
        {"maxNorm": "0.1"},
        {"maxNorm": "0"},
        "maxNorm must be from 1e-30 to 1e30",
    ),
    number("NormClipping", "normClipping", "maxNorm", {"maxNorm": "1"}, {"maxNorm": "1e40"}, "maxNorm must be from"),
    number("NormClipping", "normClipping", "maxNorm", {"maxNorm": "1"}, {"maxNorm": "NaN"}, "NaN"),
    # What comes before a robust rule.
    (
        STRATEGY,
        {"name": "Median", "preAggregation": NEIGHBOURS},
        {"name": "FedAvg", "preAggregation": NEIGHBOURS},
        ["spec.strategy.preAggregation", "preAggregation goes with Median, TrimmedMean", "or choose one of them"],
    ),
    (
        f"{STRATEGY}",
        {"name": "Median", "preAggregation": NEIGHBOURS},
        {"name": "Median", "preAggregation": {"name": "NearestNeighbourMixing"}},
        ["spec.strategy.preAggregation.byzantine", "NearestNeighbourMixing needs byzantine"],
    ),
    (
        f"{STRATEGY}",
        {"name": "Median", "preAggregation": {"name": "Bucketing", "bucketSize": 2}},
        {"name": "Median", "preAggregation": {"name": "Bucketing"}},
        ["spec.strategy.preAggregation.bucketSize", "Bucketing needs bucketSize"],
    ),
    (
        f"{STRATEGY}",
        {"name": "Median", "preAggregation": {"name": "Bucketing", "bucketSize": 2}},
        {"name": "Median", "preAggregation": {"name": "Bucketing", "bucketSize": 1}},
        ["spec.strategy.preAggregation.bucketSize", "greater than or equal to 2"],
    ),
    # What can be known of too few sites.
    needs({"name": "TrimmedMean", "trimmedMean": {"byzantine": 2}}, 5, "strategy TrimmedMean needs, 2f + 1"),
    needs({"name": "Krum", "krum": {"byzantine": 2}}, 7, "strategy Krum needs, 2f + 3"),
    needs({"name": "MultiKrum", "multiKrum": {"byzantine": 2}}, 7, "strategy MultiKrum needs, 2f + 3"),
    needs({"name": "Bulyan", "bulyan": {"byzantine": 2}}, 11, "strategy Bulyan needs, 4f + 3"),
    needs(
        {
            "name": "Krum",
            "krum": {"byzantine": 1},
            "preAggregation": {"name": "Bucketing", "bucketSize": 3},
        },
        13,
        "strategy Krum needs, 2f + 3",
        "of buckets, where preAggregation makes them",
    ),
    needs(
        {"name": "Median", "preAggregation": {"name": "NearestNeighbourMixing", "byzantine": 3}},
        7,
        "fewer sites than NearestNeighbourMixing needs, 2f + 1",
    ),
    # What FedNova knows of the sites' steps.
    only_sgd({"optimizer": {"name": "SGD", "momentum": "0.9"}}, {"optimizer": {"name": "Adam"}}),
    only_sgd({}, {"warmupSteps": 5}),
    only_sgd({}, {"batchPer": "Rank", "learningRateScaling": "Linear"}),
    only_sgd({"optimizer": {"momentum": "0.99"}}, {"optimizer": {"momentum": "1"}}),
    # Strategies with a part at the sites, and what that asks of spec.training.
    *own("FedSGD", "fedSGD", {}),
    *own("FedProx", "fedProx", {}),
    *own("SCAFFOLD", "scaffold", {}),
    ("spec", diloco(), diloco() | {"strategy": {"name": "DiLoCo"}}, ["strategy DiLoCo needs diLoCo"]),
    number("FedProx", "fedProx", "mu", {"mu": "0"}, {"mu": "-0.1"}, "mu must not be below 0"),
    number("FedSGD", "fedSGD", "learningRate", {"learningRate": "0.5"}, {"learningRate": "0"}, RATE),
    number("SCAFFOLD", "scaffold", "learningRate", {"learningRate": "0.5"}, {"learningRate": "-1"}, RATE),
    ("spec", diloco({"momentum": "0"}), diloco({"momentum": "1"}), ["diLoCo.momentum", "from 0 and below 1"]),
    ("spec", diloco({"learningRate": "1"}), diloco({"learningRate": "0"}), ["diLoCo.learningRate", RATE]),
    ("spec", diloco({"fragments": 128}), diloco({"fragments": 129}), ["diLoCo.fragments", "128"]),
    ("spec", diloco({"fragments": 1}), diloco({"fragments": 0}), ["diLoCo.fragments", "1"]),
    at_sites("FedSGD", "fedSGD", {"epochs": 1}, {"epochs": 2}, "takes one gradient over all of a site's data"),
    at_sites("FedSGD", "fedSGD", {}, {"localSteps": 5}, "remove training.localSteps and epochs"),
    at_sites("FedSGD", "fedSGD", {}, {"localParameters": ["head.*"]}, "remove training.localParameters"),
    *(
        otherwise(
            WHOLE | {"strategy": {"name": "FedSGD", "fedSGD": {}}},
            {"batchSize": 4},
            bad,
            "remove epochs and localSteps from clients.overrides",
        )
        for bad in ({"epochs": 2}, {"localSteps": 5})
    ),
    otherwise(diloco(), {"localSteps": 5}, {"epochs": 1}, "set localSteps in clients.overrides"),
    *(
        at_sites("FedSGD", "fedSGD", {"batchSize": 64}, bad, "the rate is strategy.fedSGD.learningRate")
        for bad in (
            {"optimizer": {"name": "Adam"}},
            {"optimizer": {"momentum": "0.9"}},
            {"optimizer": {"weightDecay": "0.1"}},
            {"warmupSteps": 3},
            {"batchPer": "Rank", "learningRateScaling": "Linear"},
        )
    ),
    *(
        at_sites(name, field, {"mixedPrecision": "BFloat16"}, {"mixedPrecision": "Float16"}, "to BFloat16 or None")
        for name, field in (("FedSGD", "fedSGD"), ("SCAFFOLD", "scaffold"))
    ),
    *(
        at_sites(
            "SCAFFOLD", "scaffold", {"optimizer": {"momentum": "0"}}, {"optimizer": bad}, "SGD and remove momentum"
        )
        for bad in ({"momentum": "0.9"}, {"name": "AdamW"})
    ),
    at_sites("SCAFFOLD", "scaffold", {"localSteps": 5}, {"warmupSteps": 3}, "remove training.warmupSteps"),
    *(
        (
            "spec",
            fedsgd({"batchSize": 8}),
            fedsgd(bad),
            ["clients.overrides", "remove localSteps and epochs from overrides"],
        )
        for bad in ({"epochs": 2}, {"localSteps": 3})
    ),
    at_sites("DiLoCo", "diLoCo", H_STEPS, {"localSteps": 5}, "set training.optimizer.name to AdamW"),
    at_sites("DiLoCo", "diLoCo", H_STEPS, {"optimizer": {"name": "AdamW"}}, "training.localSteps, for example 500"),
    *ANOMALIES,
    *ASYNCHRONOUS,
    *PRIVACY,
    *SECURE,
    *ENCRYPTED,
]
OWN = {"name": "Custom", "custom": {"name": "mine"}}
OWN_NAME = ("spec.strategy.custom.name", "other", "strategy.custom.name cannot change")
