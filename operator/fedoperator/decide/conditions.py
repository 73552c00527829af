"""Facts to `.status.conditions`: lastTransitionTime is kept while the status stays, observedGeneration is set."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from fedapi.crd.fields import Condition, find
from fedoperator.decide.facts import Fact, clipped, stamp


def conditions(
    old: Sequence[Condition] | None, facts: Mapping[str, Fact], generation: int, now: datetime
) -> list[Condition]:
    """Conditions for the facts, in their order; old conditions of other types are dropped."""
    return [_condition(find(old, type_), type_, fact, generation, now) for type_, fact in facts.items()]


def _condition(old: Condition | None, type_: str, fact: Fact, generation: int, now: datetime) -> Condition:
    kept = old is not None and old.status == fact.status
    return Condition(
        type=type_,
        status=fact.status,
        reason=fact.reason,
        message=clipped(fact.message),
        observed_generation=generation,
        last_transition_time=old.last_transition_time if kept and old else stamp(now),
    )
