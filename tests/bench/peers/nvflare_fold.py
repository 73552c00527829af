"""NVFLARE's WeightedAggregationHelper over arrays in memory: for each line of its input prints the seconds of one fold.

`python nvflare_fold.py FILE…`, run by fold_peers.py with the Python of NVFLARE's own environment. The updates are safetensors
files with float32 alone; update number i has the weight i + 1.
"""

import sys
import time

from nvflare.app_common.aggregators.weighted_aggregation_helper import WeightedAggregationHelper
from tensors import digest, read

updates = [read(path) for path in sys.argv[1:]]
print("ready", flush=True)
for _ in sys.stdin:
    started = time.perf_counter()
    helper = WeightedAggregationHelper()
    for index, update in enumerate(updates):
        helper.add(update, index + 1, f"site-{index}", 1)
    found = helper.get_result()
    seconds = time.perf_counter() - started
    print(seconds, digest(found), flush=True)
