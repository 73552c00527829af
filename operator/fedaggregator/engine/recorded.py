"""What of an event, or of what became durable, is told in the ledger. Called by the engine; writes nothing.

What a commit makes true is told after HEAD has moved, so that the ledger never tells of a round that did not happen: an
aggregator that died in between is made up for by untold.py.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence

from fedaggregator.engine.ledger import Ledger
from fedaggregator.ports import Holder
from fedapi import decimals
from fedapi.crd.job_status import AttestationStatus
from fedapi.wire.anomalies import Anomaly, Undoing
from fedapi.wire.attestation import Attestation
from fedapi.wire.commit import CommitRecord
from fedapi.wire.issues import IssueRecord, Method
from fedapi.wire.job import JobConfig
from fedapi.wire.message import ObjectRef
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import RecordPrivacy
from fedapi.wire.secureround import StepRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord
from fedapi.wire.update import UpdateManifest
from fedcore.ledger.entries import Fact
from fedcore.rounds import secure
from fedcore.rounds.effects import Effect, Finish, WriteClose, WriteEvaluation, WriteFailure, WritePlan, WriteStep
from fedcore.rounds.events import Accepted, Event
from fedcore.rounds.state import End, State
from fedstore import ledgers

_ROUNDS = 1000  # that are named in one entry: few have so many, where metrics are measured seldom
_TOGETHER = 100  # sites in one entry: their names are at most 253 characters


def durable(ledger: Ledger, effect: Effect) -> None:
    """An effect became durable, which is no commit."""
    match effect:
        case WritePlan(plan):
            planned(ledger, plan)
        case WriteStep(step):
            stepped(ledger, step)
        case WriteClose(close) if names_survivors(close):
            survivors(ledger, close.round, close.attempt, close.accepted)
        case WriteFailure(failure):
            failed(ledger, failure)
        case WriteEvaluation(evaluation):
            evaluated(ledger, evaluation)
        case Finish(end):
            ended(ledger, end)
        case _:
            pass


def is_urgent(effect: Effect) -> bool:
    """Whether what is told of it must be durable before anybody hears of it: sites may open a sum whose survivors are named."""
    return isinstance(effect, Finish) or (isinstance(effect, WriteClose) and names_survivors(effect.close))


def names_survivors(close: CloseRecord) -> bool:
    """Whether it closes an attempt of whose updates the sum alone is seen."""
    return close.reason in secure.CLOSE_REASONS


def taken(ledger: Ledger, event: Event, before: State) -> None:
    """An event is taken into the state."""
    if isinstance(event, Accepted) and before.accepted.get(event.manifest.client) is not event.manifest:
        accepted(ledger, event.manifest)


def evaluated(ledger: Ledger, record: EvaluationRecord) -> None:
    """A committed model was measured."""
    ledger.append(
        "evaluated",
        round=record.round,
        model_sha256=record.model_sha256,
        samples=record.samples,
        evaluation_sha256=record.sealed().digest(),
    )


def omitted(ledger: Ledger, issues: IssueRecord) -> None:
    """More was issued than is told."""
    if issues.omitted:
        ledger.append("issued", omitted=issues.omitted)


def committed(ledger: Ledger, commit: CommitRecord, commit_sha256: str) -> None:
    """HEAD reaches a commit. `commit_sha256`: of its bytes in the store, which an older version may have written otherwise."""
    ledger.counted()
    _anomalous(ledger, commit.round, commit.attempt, commit.anomalies)
    for undoing in commit.undoings:
        _undone(ledger, commit.round, undoing)
    ledger.append(
        "committed",
        round=commit.round,
        attempt=commit.attempt,
        commit_sha256=commit_sha256,
        model_sha256=commit.model.sha256,
        updates=len(commit.participants),
        updates_root=ledgers.updates_root(commit.participants),
        samples=commit.total_samples,
        rolled_back_to=commit.rolled_back_to,
        skipped=commit.skipped or None,
    )
    if commit.privacy is not None:
        charge = commit.privacy.model_dump(mode="json", exclude_none=True)
        ledger.append("charged", round=commit.round, charge={name: _text(value) for name, value in charge.items()})
    for each in commit.rollbacks:
        ledger.append("rollback", round=commit.round, id=each.id, to=each.round, refused=each.refused or None)


def configured(ledger: Ledger, before: JobConfig, now: JobConfig, config_sha256: str) -> None:
    """Another configuration was read."""
    was = dict(before)
    changed = [name for name, value in now if was[name] != value]
    ledger.append("configured", config_sha256=config_sha256, changed=changed)


def attested(ledger: Ledger, own: AttestationStatus) -> None:
    """The aggregator has evidence of where it runs, before sites may come."""
    ledger.append(
        "attested",
        tee=own.tee,
        evidence_sha256=own.evidence_sha256,
        update_keys=own.update_keys,
        affirmed_by=own.affirmed_by,
    )


def shown(ledger: Ledger, client: str, nonce: str, evidence: Attestation) -> None:
    """A site was given evidence that was made for its nonce. What its verifier says of it, it tells nobody."""
    ledger.caused(
        "attested",
        client,
        tee=evidence.tee,
        evidence_sha256=hashlib.sha256(evidence.evidence).hexdigest(),
        update_keys={str(kem): sha256 for kem, sha256 in evidence.update_keys.items()},
        nonce=nonce,
    )


def issued(ledger: Ledger, method: Method, ref: ObjectRef, to: Holder, expires_at: float) -> None:
    """A URL was made for a site."""
    ledger.append(
        "issued",
        method=method,
        sha256=ref.sha256,
        size=ref.size,
        client=to.client,
        round=to.round or None,
        attempt=to.attempt or None,
        expires=int(expires_at),
    )


def planned(ledger: Ledger, plan: PlanRecord) -> None:
    """A plan, and whom it selects."""
    of: dict[str, Fact] = {"round": plan.round, "attempt": plan.attempt}
    _of_sites(
        ledger,
        "planned",
        "selected",
        plan.selected,
        **of,
        plan_sha256=plan.sealed().digest(),
        base_sha256=plan.base.sha256,
    )


def stepped(ledger: Ledger, step: StepRecord) -> None:
    """A step of an exchange is closed: who takes part, and who has opened the sum."""
    if step.participants is not None:
        found = step.participants
        participants(
            ledger, step.round, step.attempt, found.fingerprint().hex(), [each.site for each in found.advertisements]
        )
    if openers := [each.site for each in step.openings] or [each.site for each in step.numbers]:
        opened(ledger, step.round, step.attempt, openers)


def participants(ledger: Ledger, round_: int, attempt: int, sha256: str, sites: Sequence[str]) -> None:
    """Whose keys an exchange is made of. `sha256`: what all its keys are bound to."""
    of: dict[str, Fact] = {"round": round_, "attempt": attempt, "participants_sha256": sha256}
    _of_sites(ledger, "participants", "participants", sites, **of)


def survivors(ledger: Ledger, round_: int, attempt: int, sites: Sequence[str]) -> None:
    """Whose masked or encrypted updates are summed."""
    _of_sites(ledger, "survivors", "survivors", sites, round=round_, attempt=attempt)


def opened(ledger: Ledger, round_: int, attempt: int, sites: Sequence[str]) -> None:
    """Who opened the sum."""
    _of_sites(ledger, "opened", "openers", sites, round=round_, attempt=attempt)


def first_of(sites: Sequence[str]) -> list[str]:
    """Those that the first entry names."""
    return list(sites[:_TOGETHER])


def _of_sites(ledger: Ledger, kind: str, fact: str, sites: Sequence[str], **facts: Fact) -> None:
    """In several entries where the sites are many."""
    for first in range(0, max(1, len(sites)), _TOGETHER):
        some = {fact: list(sites[first : first + _TOGETHER])}
        ledger.append(kind, **facts, sites=len(sites), first=first, **some)


def accepted(ledger: Ledger, manifest: UpdateManifest) -> None:
    """A site's update counts."""
    ledger.append(
        "accepted",
        round=manifest.round,
        attempt=manifest.attempt,
        client=manifest.client,
        base_sha256=manifest.base_sha256,
        payloads=digests(manifest),
        samples=manifest.samples,
        privacy=None if manifest.privacy is None else _of_a_record(manifest.privacy),
    )


def _of_a_record(said: RecordPrivacy) -> dict[str, str]:
    """What a site says that it has told of one record of its data."""
    return {"unit": said.unit, "epsilon": decimals.exact(said.epsilon), "delta": decimals.exact(said.delta)}


def digests(manifest: UpdateManifest) -> dict[str, str]:
    """Of an update's payloads, by name."""
    return {name: payload.object.sha256 for name, payload in manifest.payloads.items()}


def _anomalous(ledger: Ledger, round_: int, attempt: int, anomalies: Iterable[Anomaly]) -> None:
    """Updates that this attempt found anomalous. Where they were left out, they are in no model though they were accepted."""
    for each in anomalies:
        if each.attempt != attempt:
            continue
        of: dict[str, Fact] = {"client": each.client, "round": round_, "attempt": attempt}
        ledger.append("anomalous", **of, action=each.action, norm=_text(each.norm), message=each.text)
        if each.is_excluded:
            ledger.append("refused", **of, code="Anomalous", message=each.text)


def _text(value: object) -> str:
    """Numbers with a fraction are told as texts: each reader of JSON has its own."""
    return value if isinstance(value, str) else decimals.exact(value) if isinstance(value, float) else json.dumps(value)


def _undone(ledger: Ledger, committed: int, undoing: Undoing) -> None:
    """What an anomaly has undone, or, as an alert, why nothing was."""
    told: dict[str, str | int | None] = {
        "cause": undoing.cause, "client": undoing.client or None, "anomaly": undoing.round, "round": committed,
    }  # fmt: skip
    if undoing.refused:
        ledger.append("alert", reason="NotUndone", message=undoing.refused, **told)
        return
    ledger.append(
        "undone",
        to=undoing.to,
        undone=len(undoing.rounds),
        rounds=[str(each) for each in undoing.rounds[:_ROUNDS]],
        **told,
    )


def failed(ledger: Ledger, failure: FailureRecord) -> None:
    """An attempt ended without a commit."""
    _anomalous(ledger, failure.round, failure.attempt, failure.anomalies)
    ledger.append(
        "attemptFailed",
        round=failure.round,
        attempt=failure.attempt,
        reason=failure.reason,
        message=failure.message,
        failure_sha256=failure.sealed().digest(),
        rho=None if failure.privacy is None or failure.privacy.rho is None else repr(failure.privacy.rho),
    )


def ended(ledger: Ledger, end: End) -> None:
    """Training is over."""
    ledger.append("ended", result=end.result, reason=end.reason, message=end.message)
