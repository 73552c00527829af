"""Whether a setting, as a store tells it, says what is wanted. Pure."""

from collections.abc import Mapping
from typing import Any


def holds(current: Any, wanted: Any) -> bool:
    """Whether it says all of it; servers add defaults, and write one value as a list or not. Wanted None is whatever is set."""
    if wanted is None:
        return current is not None
    if current == "*" and isinstance(wanted, Mapping):
        current = {"AWS": "*"}
    if isinstance(wanted, Mapping):
        return isinstance(current, Mapping) and all(holds(current.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        have = current if isinstance(current, list) else [current]
        return all(any(holds(each, value) for each in have) for value in wanted)
    if isinstance(current, Mapping) and wanted == "*":  # everybody, as a principal
        return holds(current.get("AWS"), wanted)
    return current in (wanted, [wanted])
