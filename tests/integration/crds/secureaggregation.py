"""What secure aggregation takes and goes with: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.privacy import CENTRAL, WHOLE, strategy
from tests.integration.crds.securesums import DISTRIBUTED, OF_EITHER, RANDOM, field, of_kind

NAME = "secureAggregation"
WORDS = {
    "compression": "masked updates cannot be compressed",
    "modelWidth": "a sum under masks",
    "overSelection": "a recovery of its masks",
    "perRound": "secureAggregation.colluding + 2",
}
GROUPED = {NAME: {"groups": {"size": 3}}}
ROBUST = [("Median", {}), ("Krum", {"krum": {"byzantine": 1}}), ("GeometricMedian", {"geometricMedian": {}})]


def with_groups(good, bad, *words):
    base = WHOLE | {"privacy": GROUPED}
    return ("spec", base | good, base | bad, list(words))


SECURE = [
    *of_kind(NAME, 3, WORDS),
    *OF_EITHER,
    field(NAME, {"colluding": 0}, {"colluding": -1}, "spec.privacy.secureAggregation.colluding"),
    field(NAME, {"groups": {"size": 3}}, {"groups": {"size": 2}}, "groups.size is below colluding + 2"),
    field(NAME, {"groups": {"size": 3, "minimum": 3}}, {"groups": {"size": 3, "minimum": 2}}, "groups.minimum"),
    *(
        with_groups(strategy(name, **more), strategy("FedNova"), "goes with strategies that add up updates")
        for name, more in ROBUST
    ),
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
        WHOLE | {"privacy": {NAME: {}, "differentialPrivacy": DISTRIBUTED}},
        WHOLE | {"privacy": GROUPED | {"differentialPrivacy": DISTRIBUTED}},
        ["groups does not go with differentialPrivacy"],
    ),
]
SECURE_SPEC = WHOLE | {"privacy": {NAME: {}}}
FIXED_SECURE = [  # of a job with that spec
    ("spec.privacy", None, "privacy.secureAggregation cannot be added or removed"),
    ("spec.privacy", {"differentialPrivacy": CENTRAL}, "privacy.secureAggregation cannot be added or removed"),
]
