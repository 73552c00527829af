"""Peak memory (VmHWM) of the operator with 5,000 sites and their Leases."""

from tests.bench.bench import Bench
from tests.bench.rows import Row


def measure(bench: Bench) -> Row:
    """The row."""
    return Row("operator_rss_mib_5000_sites", bench.site_registry.operator_mib, "MiB")
