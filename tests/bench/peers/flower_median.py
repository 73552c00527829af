"""Flower's FedMedian over the replies of a round: prints as JSON the seconds of each of some aggregations, and a few values.

`python flower_median.py SITES ITEMS REPEATS`, run by flower.py with the Python of Flower's own environment. The replies are
what a ServerApp has of a round: arrays as bytes, which it decodes itself.
"""

import json
import sys
import time

import numpy as np
from flwr.app import ArrayRecord, Metadata, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.serverapp.strategy import FedMedian

SITES, ITEMS, REPEATS = (int(word) for word in sys.argv[1:])


def reply(site):
    """What site number so much has answered."""
    values = np.random.default_rng(site).normal(size=ITEMS).astype(np.float32)
    content = RecordDict({"arrays": ArrayRecord([values]), "metrics": MetricRecord({"num-examples": 1})})
    metadata = Metadata(1, str(site), site, 0, "", "", time.time(), 3600.0, "train")
    return FlowerMessage(content=content, metadata=metadata)


def main():
    """All of them. The strategy takes the arrays out of the replies, so each time there are new ones."""
    seconds, sample = [], []
    for _ in range(REPEATS):
        replies = [reply(site) for site in range(SITES)]
        began = time.perf_counter()
        arrays, _ = FedMedian().aggregate_train(1, replies)
        seconds.append(time.perf_counter() - began)
        sample = arrays.to_numpy_ndarrays()[0][:100].tolist()
    print(json.dumps({"seconds": seconds, "sample": sample}))


if __name__ == "__main__":
    main()
