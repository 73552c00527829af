"""Policy: the Released condition of a job with `spec.release`: from the signatures in its spec and the model in its status.

It tells; the gate is where the model is handed out (fedcli.releasegate), which looks at the card, too.
"""

from fedapi.wire import release
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason

_REASONS = {
    "Approved": ("True", Reason.APPROVED),
    "Rejected": ("False", Reason.RELEASE_REJECTED),
    "Waiting": ("False", Reason.WAITING_FOR_APPROVAL),
}


def fact(context: JobContext) -> Fact | None:
    """The condition; None: nobody has to approve."""
    asked, model = context.spec.release, context.status.model
    if asked is None:
        return None
    if context.status.outcome is None or model is None:
        return Fact("False", Reason.NOT_FINISHED, "there is no final model yet")
    said = release.verdict(
        [release.Approver(each.name, each.public_key) for each in asked.approvers],
        asked.required,
        [
            release.Approval(each.approver, each.decision, each.model_sha256, each.card_sha256, each.signature)
            for each in asked.approvals
        ],
        context.identity.uid,
        model.sha256,
    )
    status, reason = _REASONS[said.state]
    return Fact("True" if status == "True" else "False", reason, clipped("; ".join((said.message, *said.notes))))
