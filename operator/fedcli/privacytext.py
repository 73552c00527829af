"""What a job's status says of the privacy that its rounds have spent, for people. Pure; used by display.py and summary.py."""

from collections.abc import Iterator

from fedapi.jsonvalue import Json


def spent(status: Json) -> Iterator[str]:
    """A text for each kind of noise: of one site (differentialPrivacy), and of one record (dpSGD)."""
    for leaf in ("privacy", "recordPrivacy"):
        if told := status.get(leaf):
            target = f" of targetEpsilon {told['targetEpsilon']}" if told.get("targetEpsilon") else ""
            yield f"epsilon {told['epsilon']}{target} (of one {told['unit'].lower()}, delta {told['delta']})"
