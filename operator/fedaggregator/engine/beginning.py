"""How a process goes on with the job's ledger: what is there is checked, what another process could not tell is told. Blocking.

Called by the engine at its start. A ledger that is shorter than the commit or the status say, or another one, ends the process:
somebody put an older state back. Who asks for a rollback has seen that, and the ledger tells it.
"""

from fedaggregator.engine import untold
from fedaggregator.engine.ledger import WENT_BACK, Ledger
from fedaggregator.errors import StoreDamagedError
from fedapi.wire.store import Anchor, Head
from fedcore.rounds.state import State

_LINEAGE = 100  # jobs that are named, the newest


def begun(ledger: Ledger, state: State, head: Head, config_sha256: str, told: Anchor | None) -> Ledger:
    """The ledger, ready to be appended to. `told`: what the job's status last said of it. StoreDamagedError."""
    tip = state.tip
    inherited = ledger.load(tip.ledger if tip else None, _may_inherit(state, head))
    at, newest = ledger.durable.checkpoint, ledger.since(tip.previous_sha256 if tip else None)
    if not inherited:  # a restored commit is told by who takes it first
        ledger.check_head(head, newest)
    ledger.begin()
    ledger.append("started", epoch=head.epoch, round=head.round, config_sha256=config_sha256)
    if inherited or (head.lineage and not at.size):
        ledger.append("restored", origin=at.origin, lineage=list(head.lineage[-_LINEAGE:]), round=head.round)
    if told is not None and not ledger.has(told):
        message = f"status.ledger had {told.size} entries with the root {told.root}, and the ledger has {at.size}"
        if not _goes_back(state):
            raise StoreDamagedError(f"{message}: an older state of the store was put back", WENT_BACK)
        ledger.append("alert", reason="LedgerWentBack", message=message)
    untold.caught_up(ledger, state, newest)
    if not inherited:  # else the first write takes it, and tells whose it was
        ledger.take(head.epoch)
    ledger.tidy()
    ledger.write()
    return ledger


def _may_inherit(state: State, head: Head) -> bool:
    """Whether the checkpoint may still be one that another job signed: who has committed by now has signed one himself."""
    return bool(head.lineage) and (state.tip is None or state.tip.job_uid in head.lineage)


def _goes_back(state: State) -> bool:
    """Whether spec.rollbackTo asks for what was not decided yet."""
    asked = state.config.rollback_to
    return asked is not None and all(each.asked != asked for each in state.decided)
