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


ANOMALIES = [
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
