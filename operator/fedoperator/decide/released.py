"""Policy: the Released condition of a job with `spec.release`: from the signatures in its spec, and the model and the decisions in its status.

It tells; the gate is where the model is handed out (fedcli.releasegate), which looks at the card, too. Decisions come when the
aggregator has gone: while the ledger does not tell one, it is brought back with what it had, and `spec.release` beside.
"""

import json
from collections.abc import Iterable

from fedapi import names, released
from fedapi.jsonvalue import JsonView
from fedapi.wire.release import Verdict
from fedoperator.decide import hub, refused, roster
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import dig

_REASONS = {"Rejected": Reason.RELEASE_REJECTED, "Waiting": Reason.WAITING_FOR_APPROVAL}


def fact(context: JobContext) -> Fact | None:
    """The condition; None: nobody has to approve."""
    if context.spec.release is None:
        return None
    said = _verdict(context)
    if said is None:
        return Fact("False", Reason.NOT_FINISHED, "there is no final model yet")
    if rejected := released.withheld(said, context.status.release):
        text = f"the ledger tells that {', '.join(rejected)} rejected it, and spec.release.approvals lacks the decision"
        return Fact("False", Reason.RELEASE_REJECTED, clipped("; ".join((text, *said.notes))))
    message = clipped("; ".join((said.message, *said.notes)))
    if said.state != "Approved":
        return Fact("False", _REASONS[said.state], message)
    if untold := _untold(context, said):
        text = f"{said.message}; the ledger does not tell yet what {', '.join(untold)} decided"
        return Fact("False", Reason.RECORDING_RELEASE, clipped(text))
    return Fact("True", Reason.APPROVED, message)


def to_be_told(context: JobContext) -> bool:
    """Whether there are decisions which the ledger does not tell: the aggregator alone can append to it."""
    said = _verdict(context)
    return said is not None and bool(_untold(context, said)) and not refused.foreign_names(context)


def aggregator(context: JobContext) -> Iterable[JsonView]:
    """What the aggregator needs for that. It goes by the configuration that the job has ended with: nothing is trained."""
    return (
        *hub.accounts(context),
        *hub.roles(context),
        *hub.leases(context),
        *hub.role_bindings(context),
        _config_map(context),
        hub.deployment(context, replicas=1),
    )


def _verdict(context: JobContext) -> Verdict | None:
    """None while there is nothing to decide on."""
    asked, model = context.spec.release, context.status.model
    if asked is None or context.status.outcome is None or model is None:
        return None
    return released.verdict(asked, context.identity.uid, model.sha256, context.status.release)


def _untold(context: JobContext, said: Verdict) -> list[str]:
    return released.unrecorded(said, context.status.release)


def _config_map(context: JobContext) -> JsonView:
    (made,) = roster.config_maps(context)
    live = context.observed.children.get(Key("ConfigMap", context.identity.aggregator))
    last = dig(live, "data", names.CONFIG_FILE) or made["data"][names.CONFIG_FILE]
    asked = context.spec.release.dump() if context.spec.release else {}
    return {**made, "data": {names.CONFIG_FILE: last, names.RELEASE_FILE: json.dumps(asked, sort_keys=True, indent=1)}}
