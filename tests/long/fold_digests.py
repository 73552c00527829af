"""Digests of folds by every strategy, in every type, with the compiled loops and without: prints them as JSON.

Run by test_fold_on_arm64.py on this machine and on an emulated one: what it imports is the code of the aggregator's fold and
nothing else. Inputs are made of integers and powers of two, which every machine has alike.
"""

import ctypes
import hashlib
import json
import platform
import tempfile

import numpy as np

from fedcore.strategies.folding import Rules, folded
from fedcore.strategies.strategy import Cohort, Update
from fedcore.strategies.table import STRATEGIES
from fedcore.strategies.weighing import weighed
from fedcore.tensors import arithmetic, fingerprint, gram, kernels
from fedcore.tensors.arithmetic import FLOATS, Accumulator

SITES, ITEMS, ROUNDS = 9, 20_011, 2
NUMBERS = {
    "byzantine": 1.0,
    "iterations": 4.0,
    "smoothing": 1e-4,
    "tau": 1e-2,
    "beta1": 0.9,
    "beta2": 0.99,
}  # others: 0.7


def made(dtype: str, seed: int) -> np.ndarray:
    """Items as they are stored."""
    random = np.random.default_rng(seed)
    if dtype not in FLOATS:
        return random.integers(-1000, 1000, ITEMS).astype(arithmetic.stored(dtype, b"").dtype)
    values = random.integers(-(1 << 15), 1 << 15, ITEMS).astype(np.float64)
    values = np.ldexp(values, random.integers(-24, -14, ITEMS))
    kind = arithmetic.stored(arithmetic.working_type(dtype), b"").dtype
    return arithmetic.encoded(dtype, values.astype(kind))


def strategy_digest(name: str, dtype: str) -> str:
    """Of the model and of what the hub remembers, after some rounds."""
    strategy = STRATEGIES[name]
    rules = Rules(strategy, {key: NUMBERS.get(key, 0.7) for key in strategy.parameters})
    room = Accumulator.of(dtype, ITEMS)
    working = arithmetic.stored(arithmetic.working_type(dtype), b"").dtype
    base, found = made(dtype, 0), hashlib.sha256()
    memory = np.zeros((ITEMS, strategy.memory), working) if dtype in FLOATS else None
    if memory is not None:
        memory[...] = strategy.start(rules.parameters)
    for number in range(ROUNDS):
        updates = [made(dtype, 100 * number + site + 1) for site in range(SITES)]
        rows = [arithmetic.decoded(dtype, each, np.empty(ITEMS, working)).astype(np.float32) for each in updates]
        products = np.zeros((SITES, SITES))
        gram.added(products, np.stack(rows))
        sites = tuple(Update(10 + 7 * site, 3 + site, f"site-{site}") for site in range(SITES))
        weights = weighed(rules, Cohort(sites, products, root="site-0")).weights
        terms = [(weight.parameters, each) for weight, each in zip(weights, updates, strict=True) if weight.parameters]
        with np.errstate(all="ignore"):
            new, left = folded(rules, dtype, base, iter(terms), room, memory)
        base, memory = new.copy(), None if left is None else left.copy()
        found.update(base.tobytes() + (b"" if memory is None else memory.tobytes()) + products.tobytes())
    return found.hexdigest()


def read_digest() -> str:
    """Of what compiled code sums while it reads files, and of the fingerprints that it notes."""
    library = ctypes.CDLL(None)
    read = ctypes.cast(getattr(library, "pread64", None) or library.pread, ctypes.c_void_p).value
    key, found = fingerprint.key(np.random.default_rng(1).bytes(fingerprint.KEY_BYTES)), hashlib.sha256()
    with tempfile.TemporaryFile(buffering=0) as file:
        for site in range(SITES):
            file.write(made("F32", site).tobytes())
        for offset in (0, 2, 4, 1000, 4096):
            terms = np.zeros(SITES, kernels.READ)
            terms["file"], terms["weight"] = file.fileno(), np.float32(1) / np.arange(3, 3 + SITES)
            terms["offset"] = offset // 4 * 4 + np.arange(SITES) * 4 * (ITEMS - 2000) + offset % 4
            total, room = np.zeros(ITEMS - 2000, np.float32), memoryview(bytearray(4 * (ITEMS - 2000)))
            if kernels.sum_read_f32(total, terms, read, room, key) != SITES:
                raise RuntimeError("the file cannot be read")
            found.update(np.nan_to_num(total).tobytes() + terms["sums"].tobytes())
    return found.hexdigest()


def main() -> None:
    """All of them."""
    digests = {"read": read_digest()} if kernels.AVAILABLE else {}
    compiled = [True, False] if kernels.AVAILABLE else [False]
    for has in compiled:
        if not has:  # as where the library was not built
            kernels.AVAILABLE, kernels._ADD_SCALED = False, {}
        for name in sorted(STRATEGIES):
            for dtype in (*FLOATS, "I64", "I8", "U32"):
                digests[f"{name} {dtype} {'compiled' if has else 'numpy'}"] = strategy_digest(name, dtype)
    print(json.dumps({"machine": platform.machine(), "numpy": np.__version__, "digests": digests}))


main()
