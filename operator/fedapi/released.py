"""What the approvals in a job's `spec.release` say of its final model. Pure.

Asked by the operator (the condition Released), by the aggregator (what the ledger tells) and by whatever hands the model out.
It loads the `cryptography` package, as fedapi.wire.release does, so nothing else here imports it.
"""

from fedapi.crd.release import Release, ReleaseStatus
from fedapi.wire import release


def verdict(asked: Release, job_uid: str, model_sha256: str) -> release.Verdict:
    """Of the model of that digest."""
    approvals = (
        release.Approval(each.approver, each.decision, each.model_sha256, each.card_sha256, each.signature)
        for each in asked.approvals
    )
    return release.verdict(approvers(asked), asked.required, approvals, job_uid, model_sha256)


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
