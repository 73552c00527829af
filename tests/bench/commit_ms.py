"""Milliseconds of a commit on an S3 server beyond the model's transfer: two small objects, and HEAD by compare-and-swap."""

import time
from statistics import median

from fedstore.opening import open_store
from tests.bench.bench import Bench
from tests.bench.rows import Row
from tests.servers import weed

COMMITS, BODY = 100, b"{}".ljust(2048)


def measure(bench: Bench, commits: int = COMMITS) -> Row:
    """The median commit."""
    folder = bench.folder("commit")
    with weed.serving(folder / "weed") as server:
        store = open_store(server.place(), server.credentials(folder / "credentials"))
        store.clean()
        head = store.replace_head("control/HEAD.json", BODY, None)
        spent: list[float] = []
        for number in range(commits):
            started = time.monotonic()
            store.put_once(f"control/rounds/{number:06}/evaluation.json", BODY)
            store.put_once(f"control/rounds/{number:06}/commit.json", BODY)
            head = store.replace_head("control/HEAD.json", BODY + str(number).encode(), head.tag)
            spent.append(time.monotonic() - started)
    return Row("commit_ms", median(spent) * 1000, "ms")
