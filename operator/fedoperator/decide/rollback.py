"""Policy: what became of spec.rollbackTo, which the aggregator decides, as a condition and as an event for each value.

After the end of the job there is no aggregator: what is asked for then is refused here.
"""

from collections.abc import Sequence

from fedapi.crd.fields import Condition, find
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Event
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import ConditionType, EventReason, Reason


def rolled_back_fact(context: JobContext, *, ended: bool = False) -> Fact | None:
    """The RolledBack condition; None where nothing was asked for yet. It stays, as the model of the earlier round does."""
    told, wish = context.status.rollback, context.spec.rollback_to
    if ended and wish and (told is None or (told.round, told.id) != (wish.round, wish.id)):
        asked = _asked(wish.round, wish.id)
        over = f"the job has ended: `fedloom model pull` gives the model of round {wish.round}, and a new job goes on from it"
        return Fact("False", Reason.ROLLBACK_REFUSED, clipped(f"{asked}: {over}"))
    if told is None:
        return None
    asked = _asked(told.round, told.id)
    if told.result == "Done":
        return Fact("True", Reason.ROLLED_BACK, clipped(f"{asked}: {told.message}"))
    return Fact("False", Reason.ROLLBACK_REFUSED, clipped(f"{asked}: {told.message}"))


def _asked(round_: int, id_: str) -> str:
    return f"rollbackTo round {round_}{f' ({id_})' if id_ else ''}"


def rollback_events(old: Sequence[Condition] | None, new: Sequence[Condition]) -> list[Event]:
    """One for each value that was decided, told apart by their messages."""
    before, after = find(old or (), ConditionType.ROLLED_BACK), find(new, ConditionType.ROLLED_BACK)
    if after is None or (before is not None and (before.status, before.message) == (after.status, after.message)):
        return []
    done = after.status == "True"
    reason = EventReason.ROLLED_BACK if done else EventReason.ROLLBACK_REFUSED
    return [Event("Normal" if done else "Warning", reason, after.message)]
