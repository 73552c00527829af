"""What a ledger tells of sums of masked or encrypted updates, in lines for a person. Used by ledger.py."""

from collections.abc import Iterator, Sequence

from fedcore.ledger import sums
from fedcore.ledger.sums import Sum


def told(found: Sequence[Sum]) -> Iterator[str]:
    """How many there are, and each model of which the hub may know more than one."""
    if not found:
        return
    models = len({each.base_sha256 for each in found})
    yield f"sums of masked or encrypted updates that sites were asked to open: {len(found)}, of {models} models"
    for base, some in sums.of_one_model(found).items():
        yield f"model {base} has {len(some)} of them, whose difference can be told: {'; '.join(each.text() for each in some)}"
