"""What spec.anomalies takes and goes with: (path, accepted, refused, words of the refusal)."""

WHOLE = {"task": {"entrypoint": "a.b:c", "image": "i"}, "rounds": 3}
JUDGED = WHOLE | {"anomalies": {}}


def factor(name):
    words = [f"{name} says how many times longer is anomalous"]
    return [
        ("spec.anomalies", {name: "1.5"}, {name: "1"}, words),
        ("spec.anomalies", {name: "1000000"}, {name: "1000001"}, words),
    ]


def without(base, *words):
    return ("spec", WHOLE | base, JUDGED | base, list(words))


def back(**rollback):
    return {"action": "RollBack", "rollBack": rollback}


def kept(keep, **rollback):
    return WHOLE | {"anomalies": back(**rollback), "storage": {"history": {"keep": keep}}}


def collapse(**values):
    return back(metricCollapse={"metric": "accuracy", "tolerance": "0.2"} | values)


BACK_NEEDS = "make storage.history.keep greater than anomalies.rollBack.lookbackRounds (5 by default), or All"

ANOMALIES = [
    ("spec.anomalies", back(), back() | {"action": "Suspend"}, ["anomalies.rollBack says how a job goes back"]),
    ("spec.anomalies", {"action": "RollBack"}, back() | {"action": "Warn"}, ["set anomalies.action: RollBack"]),
    ("spec.anomalies", back(lookbackRounds=20), back(lookbackRounds=21), ["lookbackRounds"]),
    ("spec.anomalies", back(lookbackRounds=2), back(lookbackRounds=1), ["lookbackRounds"]),
    ("spec.anomalies", back(maxRollbacks=1), back(maxRollbacks=0), ["maxRollbacks"]),
    ("spec.anomalies", collapse(), back(metricCollapse={"metric": "accuracy"}), ["tolerance"]),
    ("spec.anomalies", collapse(tolerance="0.01"), collapse(tolerance="0"), ["tolerance says by how much"]),
    (
        "spec.anomalies",
        collapse(suspectFactor="1.5"),
        collapse(suspectFactor="1"),
        ["suspectFactor says how many times"],
    ),
    ("spec", kept(6), kept(5), [BACK_NEEDS]),
    ("spec", kept(3, lookbackRounds=2), kept(2, lookbackRounds=2), [BACK_NEEDS]),
    (
        "spec",
        kept("All", lookbackRounds=20),
        WHOLE | {"anomalies": {"action": "RollBack"}, "storage": {"history": {"keep": 5}}},
        [BACK_NEEDS],
    ),
    ("spec.anomalies", {"action": "Suspend"}, {"action": "Ban"}, ["spec.anomalies.action"]),
    *factor("normFactor"),
    *factor("ownFactor"),
    *factor("layerFactor"),
    ("spec.anomalies", {"minCosine": "-1"}, {"minCosine": "-1.1"}, ["minCosine must be from -1 to 1"]),
    ("spec.anomalies", {"minCosine": "1"}, {"minCosine": "1.1"}, ["minCosine must be from -1 to 1"]),
    (
        "spec.anomalies.readmit",
        [{"client": "a", "throughRound": 0}],
        [{"client": "a", "throughRound": -1}],
        ["throughRound"],
    ),
    without({"strategy": {"name": "FedBuff", "fedBuff": {}}}, "those of a buffer start from models of unlike age"),
    without(
        {"clients": {"overrides": [{"selector": {"matchLabels": {"a": "b"}}, "modelWidth": "0.5"}]}},
        "an update of a sub-model is shorter because it has fewer numbers",
    ),
    without(
        {
            "strategy": {"name": "DiLoCo", "diLoCo": {"fragments": 2}},
            "training": {"localSteps": 5, "optimizer": {"name": "AdamW"}},
        },
        "which are of other fragments: remove it, or strategy.diLoCo.fragments",
    ),
    without(
        {
            "privacy": {
                "differentialPrivacy": {"mode": "Central", "clipNorm": "1", "noiseMultiplier": "1", "delta": "1e-5"}
            }
        },
        "leaves some out by what they are, which no epsilon accounts for: remove it, or privacy",
    ),
    (
        "spec",
        WHOLE | {"rounds": 0, "task": WHOLE["task"]},
        JUDGED | {"rounds": 0},
        ["rounds 0 trains nothing, so that there is no update to judge"],
    ),
]
