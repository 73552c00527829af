"""What the approvals in a job's `spec.release` say of its final model. Pure.

Asked by the operator (the condition Released), by the aggregator (what the ledger tells) and by whatever hands the model out.
It loads the `cryptography` package, as fedapi.wire.release does, so nothing else here imports it.
"""

from fedapi.crd.release import Approval, Release, ReleaseStatus
from fedapi.wire import release


def verdict(asked: Release, job_uid: str, model_sha256: str, status: ReleaseStatus | None = None) -> release.Verdict:
    """Of the model of that digest. `status`: what the ledger tells, beside which an older decision does not count."""
    approvals = (
        release.Approval(
            each.approver, each.decision, each.model_sha256, each.card_sha256, each.signature, each.number or 0
        )
        for each in asked.approvals
    )
    return release.verdict(approvers(asked), asked.required, approvals, job_uid, model_sha256, _told(status))


def in_spec(said: release.Approval) -> Approval:
    """The same, as `spec.release.approvals` has it."""
    return Approval.model_validate(said._asdict() | {"number": said.number or None})


def next_number(said: release.Verdict, status: ReleaseStatus | None, approver: str) -> int:
    """That of this approver's next decision: above all that count or that the ledger tells."""
    told = _told(status).get(approver)
    counted = (each.number for each in said.counted if each.approver == approver)
    return 1 + max(*counted, told.age.number if told else 0, 0)


def approvers(asked: Release) -> list[release.Approver]:
    """Who may approve."""
    return [release.Approver(each.name, each.public_key) for each in asked.approvers]


def unrecorded(said: release.Verdict, status: ReleaseStatus | None) -> list[str]:
    """Approvers whose decision counts, and which the job's ledger does not tell, as far as the job's status says."""
    told = {(each.approver, each.signature) for each in status.recorded} if status else set()
    return sorted(each.approver for each in said.counted if (each.approver, each.signature) not in told)


def withheld(said: release.Verdict, status: ReleaseStatus | None) -> list[str]:
    """Approvers who have rejected the model, as the ledger tells, and of whom no later decision is there.

    Who takes a rejection out of the spec undoes nothing.
    """
    decided = {each.approver for each in said.counted}
    rejected = (each.approver for each in (status.recorded if status else ()) if each.decision == "Reject")
    return sorted(set(rejected) - decided)


def _told(status: ReleaseStatus | None) -> dict[str, release.Told]:
    """By approver."""
    return {
        each.approver: release.Told(release.Age(each.number or 0, each.decision), each.signature)
        for each in (status.recorded if status else ())
    }
