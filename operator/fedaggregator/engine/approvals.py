"""Decisions on the release of a job's final model, told in its ledger: each once, whatever dies in between. Beside untold.py.

Called by telling.py, in the aggregator of a job that has ended, and by fedlocal, for a run on this machine. What counts is
what an approver has signed over this job and this model (fedapi.released). A decision is known by its signature: entries of one
approver come in the order of the decisions, so that the last one says what holds; one that is older by its number is told no more.
"""

from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

from fedaggregator.engine import records
from fedaggregator.engine.ledger import Ledger
from fedaggregator.errors import StoreDamagedError
from fedaggregator.ports import Clock
from fedapi import released
from fedapi.crd.release import RecordedDecision, Release, ReleaseStatus
from fedapi.wire.layout import Layout
from fedapi.wire.release import Approval, Verdict
from fedcore.ledger.entries import Entry
from fedstore import history
from fedstore.objectstore import ObjectStore

_KINDS = {"Approve": "approved", "Reject": "rejected"}
_DECISIONS = {kind: decision for decision, kind in _KINDS.items()}
_RELEASED = "released"


class Final(NamedTuple):
    """What is decided on."""

    job_uid: str
    model_sha256: str


def told(ledger: Ledger, asked: Release, final: Final, entries: Iterable[Entry]) -> ReleaseStatus:
    """Appends what `entries`, the newest, back to the last commit and oldest first, do not tell; what the status says once that is durable."""
    keys = {each.name: each.public_key for each in asked.approvers}
    known = _known(entries, final.job_uid, keys)
    said = released.verdict(asked, *final, known.status)
    for each in said.counted:
        before = known.decisions.get(each.approver)
        if before is None or before.signature != each.signature:
            _decided(ledger, each, keys[each.approver], final.job_uid)
            known = known._replace(is_released=False)
    if said.state == "Approved" and not known.is_released and not released.withheld(said, known.status):
        _released(ledger, said, final)
    counted = {
        each.approver: _recorded(each.approver, each.decision, each.signature, each.number) for each in said.counted
    }
    return known._replace(decisions=known.decisions | counted).status


class _Known(NamedTuple):
    decisions: dict[str, RecordedDecision]  # the last of each approver
    is_released: bool  # since then

    @property
    def status(self) -> ReleaseStatus:
        """What the job's status says of them."""
        return ReleaseStatus(recorded=[self.decisions[name] for name in sorted(self.decisions)])


def _known(entries: Iterable[Entry], job_uid: str, approvers: Container[str]) -> _Known:
    decisions: dict[str, RecordedDecision] = {}
    is_released = False
    for each in entries:
        if each.facts.get("job_uid") != job_uid:
            continue  # it is of something else, or of the job that this one was restored from
        approver, number = str(each.facts.get("approver")), each.facts.get("number")
        if (decision := _DECISIONS.get(each.kind)) is not None and approver in approvers:
            decisions[approver] = _recorded(approver, decision, str(each.facts.get("signature")), number)
            is_released = False
        elif each.kind == _RELEASED:
            is_released = True
    return _Known(decisions, is_released)


def _recorded(approver: str, decision: str, signature: str, number: object) -> RecordedDecision:
    said = {"approver": approver, "decision": decision, "signature": signature, "number": number or None}
    return RecordedDecision.model_validate(said)


def _decided(ledger: Ledger, said: Approval, public_key: str, job_uid: str) -> None:
    ledger.append(
        _KINDS[said.decision],
        job_uid=job_uid,
        approver=said.approver,
        public_key=public_key,
        model_sha256=said.model_sha256,
        card_sha256=said.card_sha256,
        signature=said.signature,
        number=said.number or None,
    )


def _released(ledger: Ledger, said: Verdict, final: Final) -> None:
    """Of each card that enough have approved: it is one, unless approvers have more than one key each."""
    for card in sorted(said.cards):
        names = sorted(each.approver for each in said.counted if each.card_sha256 == card)
        ledger.append(
            _RELEASED, job_uid=final.job_uid, model_sha256=final.model_sha256, card_sha256=card, approvers=names
        )


def tell(store: ObjectStore, layout: Layout, seed: bytes, asked: Release, clock: Clock) -> ReleaseStatus:
    """The same of a job that has ended and has no aggregator, whose store nobody else writes. Blocking. StoreDamagedError, StoreError."""
    found = records.read_head(store, layout)
    tip = next(history.links(store, layout, found[0]), None) if found else None
    if found is None or tip is None:
        raise StoreDamagedError(f"{layout.head}: no model is committed", "put it back from a copy")
    head, ledger = found[0], Ledger(store, layout, seed, clock)
    restart = ledger.restart()
    goes_on = restart is None or restart.commit_sha256 != head.commit_sha256
    ledger.load(tip.ledger if goes_on else None, tip.job_uid in head.lineage, restart)
    newest: Sequence[Entry] = ledger.since(tip.previous_sha256)
    ledger.check_head(head, newest, begins_anew=restart is not None)
    ledger.take(head.epoch)
    ledger.tidy()
    status = told(ledger, asked, Final(layout.uid, tip.model.sha256), newest)
    ledger.write()
    return status
