"""What a pass need not do again: objects of the in-memory cluster are replaced when they change, never changed in place.

Used by reconcile.py, whose passes over a thousand sites would otherwise take longer than their round.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedapi.crd.flclient import FLClient
from fedapi.jsonvalue import Json
from fedoperator.decide.decision import Key

Inputs = tuple[Json | None, ...]


@dataclass
class Seen:
    """By key: the objects that something was decided from, and when it has to be decided again all the same."""

    now: Callable[[], float] = time.monotonic
    _last: dict[Key, tuple[Inputs, float | None]] = field(default_factory=dict)

    def unless_same(self, key: Key, inputs: Inputs, decide: Callable[[], float | None]) -> float | None:
        """Decides, unless the same objects were decided on before. Seconds until it is due again."""
        last, due = self._last.get(key, ((), None))
        now = self.now()
        if not _same(last, inputs) or (due is not None and now >= due):
            after = decide()
            self._last[key] = inputs, None if after is None else now + after
            return after
        return None if due is None else due - now


@dataclass
class Parsed:
    """FLClients as models."""

    _last: dict[str, tuple[Json, FLClient]] = field(default_factory=dict)

    def of(self, body: Json) -> FLClient:
        """Of an FLClient's body."""
        name = body["metadata"]["name"]
        known = self._last.get(name)
        if known is None or known[0] is not body:
            known = self._last[name] = body, FLClient.parse(body)
        return known[1]


def _same(before: Inputs, now: Inputs) -> bool:
    return bool(before) and len(before) == len(now) and all(a is b for a, b in zip(before, now, strict=True))
