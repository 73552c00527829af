"""Writes of the operator per minute when nothing happens: 100 finished jobs, 20 between two rounds, all watched.

Counted in the API server's audit log over 90 s, in which every object is looked at again several times (a resync each
20 s instead of 300 s). Everything counts that is not the bench's own, the API server's own, or a Lease.
"""

import time

from tests.bench import actors, audit
from tests.bench.bench import Bench
from tests.bench.rows import Row

WINDOW_S = 90.0


def measure(bench: Bench) -> Row:
    """The row."""
    fleet, running = bench.fleet, bench.running
    over = sorted(set(fleet.acknowledged) - set(running))
    actors.run(fleet, [job for job in over if actors.phase(fleet, job) not in ("Running", "Complete")])
    actors.finish(fleet, [job for job in over if actors.phase(fleet, job) != "Complete"])
    log = fleet.kube.cluster.audit_log
    audit.quiet(log)
    print(f"   {audit.writes(log, 0).total()} writes until the jobs were at rest")
    start = log.stat().st_size
    time.sleep(WINDOW_S)
    writes = audit.writes(log, start)
    for what, count in writes.most_common(8):
        print(f"   {count} x {what}")
    return Row("steady_state_writes_per_min", writes.total() * 60 / WINDOW_S, "1/min")
