"""Every strategy that a FederatedJob can name, with every field of its own, and jobs of them.

Used by the tests of `fedloom run`, and by those of a cluster, which compare their models with these. A new strategy is a
new line of the table.
"""

from fedapi.crd.strategy import Strategy
from tests.integration.fedlocal.runs import document, site

MIXING = {"name": "NearestNeighbourMixing", "byzantine": 1}
BUCKETS = {"name": "Bucketing", "bucketSize": 2}
TABLE = {  # job -> strategy, and what of spec.training it needs
    "fedavg": ({"name": "FedAvg"}, {}),
    "fedsgd": ({"name": "FedSGD", "fedSGD": {"learningRate": "0.2"}}, {"optimizer": {}}),
    "fedprox": ({"name": "FedProx", "fedProx": {"mu": "0.5"}}, {"batchSize": 16}),  # the first step is FedAvg's
    "scaffold": ({"name": "SCAFFOLD", "scaffold": {"learningRate": "0.9"}}, {}),
    "diloco": (
        {"name": "DiLoCo", "diLoCo": {"learningRate": "0.5", "momentum": "0.8"}},
        {"localSteps": 1, "optimizer": {"name": "AdamW", "learningRate": "0.01"}},
    ),
    "fedavgm": ({"name": "FedAvgM", "fedAvgM": {"momentum": "0.5", "learningRate": "0.7"}}, {}),
    "fedadagrad": ({"name": "FedAdagrad", "fedAdagrad": {"learningRate": "0.02", "beta1": "0.5", "tau": "0.01"}}, {}),
    "fedadam": (
        {"name": "FedAdam", "fedAdam": {"learningRate": "0.02", "beta1": "0.8", "beta2": "0.9", "tau": "0.01"}},
        {},
    ),
    "fedyogi": (
        {"name": "FedYogi", "fedYogi": {"learningRate": "0.02", "beta1": "0.8", "beta2": "0.9", "tau": "0.01"}},
        {},
    ),
    "fednova": ({"name": "FedNova"}, {}),
    "median": ({"name": "Median"}, {}),
    "median-of-means": ({"name": "Median", "preAggregation": BUCKETS}, {}),
    "trimmed-mean": ({"name": "TrimmedMean", "trimmedMean": {"byzantine": 2}}, {}),
    "trimmed-mean-mixed": ({"name": "TrimmedMean", "trimmedMean": {"byzantine": 1}, "preAggregation": MIXING}, {}),
    "krum": ({"name": "Krum", "krum": {"byzantine": 1}}, {}),
    "multi-krum": ({"name": "MultiKrum", "multiKrum": {"byzantine": 1}}, {}),
    "multi-krum-mixed": ({"name": "MultiKrum", "multiKrum": {"byzantine": 1}, "preAggregation": MIXING}, {}),
    "geometric-median": ({"name": "GeometricMedian", "geometricMedian": {"iterations": 4, "smoothing": "0.0001"}}, {}),
    "bulyan": ({"name": "Bulyan", "bulyan": {"byzantine": 1}}, {}),
    "fltrust": ({"name": "FLTrust", "flTrust": {"rootClient": "site-1"}}, {}),
    "custom": ({"name": "Custom", "custom": {"name": "halved", "parameters": {"rate": "0.5"}}}, {}),
    "fedbuff": ({"name": "FedBuff", "fedBuff": {"bufferSize": 3, "learningRate": "0.3", "stalenessExponent": "1"}}, {}),
    "norm-clipping": ({"name": "NormClipping", "normClipping": {"maxNorm": "0.1"}}, {}),
}
NAMES = frozenset(Strategy.model_fields["name"].annotation.__args__)
PLAIN = {"optimizer": {"learningRate": "0.1"}}


def fewest(name):
    """Sites without which the job's strategy is not defined."""
    return Strategy.model_validate(TABLE[name][0]).fewest()


def numbered(number, **spec):
    made = site(f"site-{number}")
    made["metadata"]["labels"] = {"number": str(number)}
    made["spec"] |= spec
    return made


def job(name, sites, **spec):
    """A job of the table's, of the first so many sites; `strategy` in `spec` are numbers in the place of the table's."""
    strategy, training = TABLE[name]
    strategy = strategy | spec.pop("strategy", {})
    chosen = {"key": "number", "operator": "In", "values": [str(number) for number in range(sites)]}
    clients = {"selector": {"matchExpressions": [chosen]}} | spec.pop("clients", {})
    made = document("FederatedJob", name, seed=3, clients=clients, strategy=strategy, training=PLAIN | training, **spec)
    return made | {"metadata": {"name": name}}
