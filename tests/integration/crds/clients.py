"""Who takes part in rounds, as a job and a site may and may not say it: (kind, path, accepted, refused, words of the refusal).

Judged by a real API server in this folder, and by the embedded runner in tests/unit/fedlocal. OVER is about a job whose
`clients` are DRAWN.
"""

from fedapi import names

JOB, SITE = names.JOB_KIND, names.CLIENT_KIND
DRAWN = {"policy": "Random", "perRound": 3}


def stratified(**by):
    return {"policy": "Stratified", "perRound": 3, "stratified": by}


def override(**more):
    return {"overrides": [{"selector": {"matchLabels": {"size": "small"}}} | more]}


def narrow(strategy, width="0.5", **more):
    """A job of a strategy, with a sub-model for some sites; None for none."""
    sub_model = {} if width is None else {"modelWidth": width}
    return {
        "task": {"entrypoint": "a.b:c", "image": "i"},
        "rounds": 3,
        "strategy": strategy | more,
        "clients": override(batchSize=8, **sub_model),
    }


AVERAGED = "sub-models go with strategies that average each number by itself (FedAvg, FedAvgM, FedProx, FedAdagrad, FedAdam, FedYogi)"
SCAFFOLD, FEDADAM = {"name": "SCAFFOLD", "scaffold": {}}, {"name": "FedAdam", "fedAdam": {}}
CLIENTS = [
    (JOB, "spec", narrow({"name": "FedAvg"}), narrow({"name": "Median"}), [AVERAGED, "remove modelWidth"]),
    (JOB, "spec", narrow(FEDADAM), narrow(SCAFFOLD), [AVERAGED]),
    (JOB, "spec", narrow(SCAFFOLD, "1"), narrow({"name": "FedNova"}), [AVERAGED]),
    (JOB, "spec", narrow(FEDADAM), narrow({"name": "FedBuff", "fedBuff": {}}), [AVERAGED, "fold those of other rounds"]),
    (
        JOB,
        "spec",
        narrow({"name": "FedAvg"}, subModels="ZeroPadding"),
        narrow({"name": "FedAvg"}, None, subModels="ZeroPadding"),
        ["spec.strategy.subModels", "no site trains one: set modelWidth in clients.overrides, or remove it"],
    ),
    (JOB, "spec", narrow(FEDADAM, subModels="Overlap"), narrow(FEDADAM, "1.0", subModels="Overlap"), ["no site trains one"]),
    (JOB, "spec", narrow(FEDADAM, subModels="Overlap"), narrow(FEDADAM, subModels="Zeros"), ["subModels", "ZeroPadding"]),
    (JOB, "spec.clients", {"policy": "Fair", "perRound": 3}, {"policy": "Fast"}, ["spec.clients.policy", "ResourceAware"]),
    (JOB, "spec.clients", {"policy": "Fair", "fraction": "0.5"}, {"policy": "Fair"}, ["needs perRound or fraction"]),
    (JOB, "spec.clients", {"policy": "ResourceAware"}, {"policy": "Poisson"}, ["Poisson", "needs fraction, the probability"]),
    (
        JOB,
        "spec.clients",
        {"policy": "ResourceAware", "perRound": 2},
        {"policy": "ResourceAware", "perRound": 2, "fraction": "0.5"},
        ["perRound and fraction exclude each other: keep one"],
    ),
    (
        JOB,
        "spec.clients",
        {"policy": "Poisson", "fraction": "0.05"},
        {"policy": "Poisson", "fraction": "0.05", "perRound": 2},
        ["policy Poisson draws each site by itself", "takes no perRound"],
    ),
    (JOB, "spec.clients", {"policy": "Poisson", "fraction": "1"}, {"policy": "Poisson", "fraction": "0"}, ["fraction must be"]),
    # Strata.
    (
        JOB,
        "spec.clients",
        stratified(fields=["Provider", "Region"], labels=["example.com/size"]),
        {"policy": "Stratified", "perRound": 3},
        ["policy Stratified needs stratified, and no other takes it"],
    ),
    (
        JOB,
        "spec.clients",
        stratified(labels=["size"]),
        DRAWN | {"stratified": {"labels": ["size"]}},
        ["policy Stratified needs stratified, and no other takes it"],
    ),
    (JOB, "spec.clients", stratified(fields=["Accelerator"]), stratified(), ["stratified needs fields or labels"]),
    (JOB, "spec.clients", stratified(fields=["Organization"]), stratified(fields=[]), ["stratified needs fields or labels"]),
    (JOB, "spec.clients", stratified(fields=["Region"]), stratified(fields=["Colour"]), ["Colour", "Accelerator"]),
    (JOB, "spec.clients", stratified(labels=list("abcd")), stratified(labels=list("abcde")), ["labels"]),
    # Overrides.
    (
        JOB,
        "spec.clients",
        override(batchSize=8),
        override(),
        ["an override needs batchSize, epochs, localSteps or modelWidth"],
    ),
    (
        JOB,
        "spec.clients",
        override(batchSize=8, localSteps=5),
        override(epochs=1, localSteps=5),
        ["epochs and localSteps exclude each other: keep one"],
    ),
    (JOB, "spec.clients", override(epochs=1), override(epochs=0), ["epochs"]),
    (JOB, "spec.clients", override(batchSize=1), override(batchSize=0), ["batchSize"]),
    (JOB, "spec.clients", override(modelWidth="1"), override(modelWidth="1.01"), ["modelWidth must be over 0 and at most 1"]),
    (JOB, "spec.clients", override(modelWidth="0.5"), override(modelWidth="0"), ["modelWidth must be over 0 and at most 1"]),
    (JOB, "spec.clients", override(modelWidth="1e-2"), override(modelWidth="half"), ["modelWidth"]),
    (
        JOB,
        "spec.clients",
        {"overrides": override(epochs=1)["overrides"] * 10},
        {"overrides": override(epochs=1)["overrides"] * 11},
        ["spec.clients.overrides", "10"],
    ),
    (JOB, "spec.clients", {"overrides": [{"selector": {}, "epochs": 1}]}, {"overrides": [{"epochs": 1}]}, ["selector"]),
    # A site's own.
    (SITE, "spec.participation", {"everyRounds": 1}, {"everyRounds": 0}, ["spec.participation.everyRounds"]),
    (SITE, "spec.participation", {"everyRounds": 100}, {"everyRounds": 101}, ["spec.participation.everyRounds"]),
    # Held out of training.
    (
        JOB,
        "spec.evaluation",
        {"heldOut": {"selector": {"matchLabels": {"role": "validation"}}, "everyRounds": 2}},
        {"heldOut": {"selector": {}}},
        ["evaluation.heldOut.selector selects every site, so that none is left to train", "spec.evaluation.heldOut.selector"],
    ),
    (
        JOB,
        "spec.evaluation",
        {"heldOut": {"selector": {"matchExpressions": [{"key": "role", "operator": "Exists"}]}}},
        {"heldOut": {"selector": {"matchExpressions": []}}},
        ["give matchLabels or matchExpressions"],
    ),
    (
        JOB,
        "spec.evaluation",
        {"heldOut": {"selector": {"matchLabels": {"a": "b"}}, "everyRounds": 1}},
        {"heldOut": {"selector": {"matchLabels": {"a": "b"}}, "everyRounds": 0}},
        ["spec.evaluation.heldOut.everyRounds"],
    ),
    (
        JOB,
        "spec.evaluation",
        {"heldOut": {"selector": {"matchLabels": {"a": "b"}}}},
        {},
        ["evaluation needs heldOut or request: say who evaluates, or what"],
    ),
    (
        JOB,
        "spec.evaluation",
        {"request": {"round": 0, "clients": ["a", "b"]}},
        {"request": {"round": 0, "clients": ["a"], "selector": {}}},
        ["clients and selector exclude each other: keep one", "spec.evaluation.request"],
    ),
    (JOB, "spec.evaluation", {"request": {"round": 3, "selector": {}}}, {"request": {"clients": ["a"]}}, ["round"]),
    (JOB, "spec.evaluation", {"request": {"round": 3}}, {"request": {"round": 3, "clients": []}}, ["clients"]),
    # More than are wanted, and counts of what nobody knows.
    (
        JOB,
        "spec.round",
        {"quorum": "50%"},
        {"overSelection": "1.3"},
        ["overSelection goes with clients.perRound or clients.fraction", "set another clients.policy"],
    ),
]  # fmt: skip
OVER = [
    ("spec.round", {"overSelection": "1.3"}, {"overSelection": "0.9"}, ["overSelection must be from 1 to 10"]),
    ("spec.round", {"overSelection": "10"}, {"overSelection": "10.1"}, ["overSelection must be from 1 to 10"]),
    ("spec.round", {"overSelection": "1"}, {"overSelection": "many"}, ["overSelection"]),
]
OF_ROUNDS = [
    (
        "spec.training",
        {"lifetime": "Job"},
        {"lifetime": "Round"},
        ["with training.lifetime Round a site has no process", "remove evaluation.request"],
    ),
]
POISSON = [
    ("spec.round", {"quorum": "50%"}, {"quorum": 2}, ["make round.quorum a percentage"]),
    (
        "spec.round",
        {"quorum": "50%"},
        {"quorum": "50%", "overSelection": "1.3"},
        ["not with policy Poisson, whose draws nothing"],
    ),
]
