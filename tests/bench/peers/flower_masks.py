"""The masks of one site by the functions of Flower's SecAgg+: prints as JSON the seconds of each of some turns.

`python flower_masks.py MASKS ITEMS REPEATS`, run by flower.py with the Python of Flower's own environment. What its client's mod
does to a quantized update: a generator per mask, the mask added or taken away, and the modulus at the end.
"""

import hashlib
import json
import sys
import time

import numpy as np
from flwr.common.secure_aggregation.ndarrays_arithmetic import (
    parameters_addition,
    parameters_mod,
    parameters_subtraction,
)
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

MASKS, ITEMS, REPEATS = (int(word) for word in sys.argv[1:])
RANGE = 1 << 32


def main():
    """All turns."""
    seconds = []
    for _ in range(REPEATS):
        update = [np.zeros(ITEMS, np.int64)]
        began = time.perf_counter()
        for number in range(MASKS):
            mask = pseudo_rand_gen(hashlib.sha256(bytes([number])).digest(), RANGE, [(ITEMS,)])
            update = (parameters_subtraction if number % 2 else parameters_addition)(update, mask)
        update = parameters_mod(update, RANGE)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
