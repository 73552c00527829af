"""Updates that get into the model per hour, one site of four ten times slower: FedBuff over synchronous rounds without a quorum.

`fedloom run`, four sites with a process of their own: three train 0.5 s, one trains 5 s. FedAvg waits for all four; FedBuff has
a buffer of 3. Rounds' worth: updates in committed rounds over four, from the first commit after the initial model's to the last.
Printed beside it: the rounds of each, and how old the slow site's updates were.
"""

from tests.bench import embedded, records
from tests.bench.bench import Bench
from tests.bench.rows import Row

SITES, FAST_S, SLOW_S = 4, 0.5, 5.0
SYNC_ROUNDS, BUFFERS, BUFFER_SIZE = 5, 40, 3


def measure(bench: Bench) -> Row:
    """The row."""
    synchronous = _per_hour(bench, "sync", SYNC_ROUNDS)
    strategy = {"name": "FedBuff", "fedBuff": {"bufferSize": BUFFER_SIZE}}
    buffered = _per_hour(bench, "buffered", BUFFERS, strategy=strategy, policy={"maxStaleness": 40})
    print(f"   rounds' worth of updates per hour: {buffered:.0f} with FedBuff, {synchronous:.0f} synchronous")
    return Row("fedbuff_vs_sync", buffered / synchronous, "x")


def _per_hour(bench: Bench, name: str, rounds: int, strategy: dict | None = None, policy: dict | None = None) -> float:
    *sites, job = embedded.manifests("uneven:task", SITES, rounds)
    job["spec"]["task"]["args"] = {}
    job["spec"] |= {"strategy": strategy} if strategy else {}
    job["spec"]["round"] |= policy or {}
    for number, site in enumerate(sites):
        seconds = str(SLOW_S if number == 0 else FAST_S)
        site["spec"]["data"] = {"env": [{"name": "BENCH_SECONDS", "value": seconds}]}
    folder = bench.folder(f"fedbuff-{name}")
    commits = records.commits(embedded.run(folder, [*sites, job], "--trainers", "own"))
    updates = sum(len(commit.participants) for commit in commits[2:])
    took_s = commits[-1].committed_at - commits[1].committed_at
    slow = [
        (c.round, p.order.round if p.order else c.round)
        for c in commits
        for p in c.participants
        if p.client == "site-0"
    ]
    ages = " ".join(str(into - began) for into, began in slow)
    print(
        f"   {name}: {len(commits) - 1} rounds, {updates} updates in {took_s:.1f} s; the slow site's were {ages} rounds old"
    )
    return 3600 * updates / SITES / took_s
