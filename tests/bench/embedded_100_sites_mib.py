"""Memory of that run: Pss of the runner and everything below it at its highest."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("embedded_100_sites_mib", bench.hundred.mib, "MiB")
