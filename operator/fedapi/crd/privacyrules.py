"""Bounds of the numbers that differential privacy is said by, wherever a resource says them. Used by privacy.py, dpsgd.py and requires.py."""

from fedapi.crd.fields import rule


def noise_bounds(field: str, least: str, most: str) -> dict[str, str]:
    """Of a noise multiplier that may be absent."""
    message = f"{field} must be from {least}, which hides next to nothing, to {most}: for example '1.0'"
    return _bounds(field, least, f"{most}.0", message)


def epsilon_bounds(field: str, least: str) -> dict[str, str]:
    """Of an epsilon that may be absent."""
    message = f"{field} must be from {least} to 1000, above which nothing is promised: for example '8'"
    return _bounds(field, least, "1000.0", message)


def delta_bounds(least: str, *, optional: bool = False) -> dict[str, str]:
    """Of the field `delta`."""
    return _bounds("delta", least, "0.1", f"delta must be from {least} to 0.1, for example '1e-5'", optional=optional)


def _bounds(field: str, least: str, most: str, message: str, *, optional: bool = True) -> dict[str, str]:
    inside = f"double(self.{field}) >= {least} && double(self.{field}) <= {most}"
    return rule(f"!has(self.{field}) || ({inside})" if optional else inside, message, f".{field}")
