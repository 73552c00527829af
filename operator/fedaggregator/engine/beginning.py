"""How a process goes on with the job's ledger: what is there is checked, what another process could not tell is told. Blocking.

Called by the engine at its start. A ledger that is shorter than the commit or the status say, or another one, ends the process:
somebody put an older state back. Who asks for a rollback has seen that, and the ledger tells it; so has who had it begun anew by a
repair.
"""

from fedaggregator.engine import untold
from fedaggregator.engine.ledger import WENT_BACK, Ledger
from fedaggregator.errors import StoreDamagedError
from fedaggregator.ledgerstatus import Told
from fedapi.wire.ledger import LedgerRestart
from fedapi.wire.store import Head
from fedcore.ledger.note import Checkpoint
from fedcore.rounds.state import State
from fedstore import ledgerrestarts

_LINEAGE = 100  # jobs that are named, the newest


def begun(ledger: Ledger, state: State, head: Head, config_sha256: str, told: Told | None) -> Ledger:
    """The ledger, ready to be appended to. `told`: what the job's status last said of it. StoreDamagedError."""
    tip, restart = state.tip, ledger.restart()
    goes_on = restart is None or restart.commit_sha256 != head.commit_sha256  # from a commit that is bound to it
    inherited = ledger.load(tip.ledger if tip and goes_on else None, _may_inherit(state, head), restart)
    at, newest = ledger.durable.checkpoint, ledger.since(tip.previous_sha256 if tip else None)
    if not inherited:  # a restored commit is told by who takes it first
        ledger.check_head(head, newest, begins_anew=restart is not None)
    ledger.begin()
    ledger.append("started", epoch=head.epoch, round=head.round, config_sha256=config_sha256)
    if restart is not None and not at.size:
        _restarted(ledger, state, head, restart)
    if inherited or (head.lineage and not at.size and restart is None):
        ledger.append("restored", origin=at.origin, lineage=list(head.lineage[-_LINEAGE:]), round=head.round)
    if told is not None:
        _compare(ledger, state, at, told)
    untold.caught_up(ledger, state, newest)
    if not inherited:  # else the first write takes it, and tells whose it was
        ledger.take(head.epoch)
    ledger.tidy()
    ledger.write()
    return ledger


def _restarted(ledger: Ledger, state: State, head: Head, restart: LedgerRestart) -> None:
    """Earlier commits are bound to the ledger before, and this entry says which that was."""
    ledger.append(
        "restarted",
        number=restart.number,
        origin=ledgerrestarts.before(state.layout, restart),
        size=restart.size,
        root=restart.root,
        reason=restart.reason,
        round=head.round,
        commit_sha256=head.commit_sha256,
    )


def _compare(ledger: Ledger, state: State, at: Checkpoint, told: Told) -> None:
    """With what the status knows. Of a ledger before a repair it knows nothing that is in this one."""
    number = ledgerrestarts.number(state.layout, told.origin)
    if number is None or (told.origin != ledger.origin and number < _number(ledger, state)):
        return
    if told.origin == ledger.origin and ledger.has(told.anchor):
        return
    known = told.anchor
    message = f"status.ledger had {known.size} entries with the root {known.root}, and the ledger has {at.size}"
    if not _goes_back(state):
        raise StoreDamagedError(f"{message}: an older state of the store was put back", WENT_BACK)
    ledger.append("alert", reason="LedgerWentBack", message=message)


def _number(ledger: Ledger, state: State) -> int:
    return ledgerrestarts.number(state.layout, ledger.origin) or 0


def _may_inherit(state: State, head: Head) -> bool:
    """Whether the checkpoint may still be one that another job signed: who has committed by now has signed one himself."""
    return bool(head.lineage) and (state.tip is None or state.tip.job_uid in head.lineage)


def _goes_back(state: State) -> bool:
    """Whether spec.rollbackTo asks for what was not decided yet."""
    asked = state.config.rollback_to
    return asked is not None and all(each.asked != asked for each in state.decided)
