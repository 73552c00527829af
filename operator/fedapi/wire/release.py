"""What an approver signs, and whether enough of them have: the release of a job's final model. Pure.

Read by the operator (the condition Released) and by whatever hands the model out (`fedloom model pull`). An approval names the
model, its card and the job's uid, so that it says nothing of another model, of another card, or of a job made anew under the name;
and a number, so that an approver's older decision cannot be put in the place of a newer one that the ledger tells. It loads the `cryptography` package, so nothing beside it imports it.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

import rfc8785

from fedapi.wire.signing import SigningKey, verifies

PURPOSE = "fedloom.dev/release/v1"  # so that a signature of this key for anything else is none of this
Decision = Literal["Approve", "Reject"]


class Approver(NamedTuple):
    """Who may approve, by an Ed25519 key: 32 bytes in base64."""

    name: str
    public_key: str


class Approval(NamedTuple):
    """What one of them signed."""

    approver: str
    decision: str
    model_sha256: str
    card_sha256: str
    signature: str
    number: int = (
        0  # each decision of an approver on a job has a greater one than that before; 0: made when there were none
    )

    @property
    def age(self) -> "Age":
        """To be compared with that of others by the approver."""
        return Age(self.number, self.decision)


class Age(NamedTuple):
    """Which of an approver's decisions is newer: the greater. Of two with one number the rejection, in doubt, holds."""

    number: int
    decision: str  # "Approve" < "Reject"


class Told(NamedTuple):
    """The last decision of an approver that the job's ledger tells."""

    age: Age
    signature: str


class Verdict(NamedTuple):
    """Whether the model is released, and why not. `notes`: approvals that do not count, and why; `counted`: those that do."""

    state: Literal["Approved", "Rejected", "Waiting"]
    message: str
    cards: frozenset[str] = frozenset()  # digests of the cards that were approved by enough
    notes: tuple[str, ...] = ()
    counted: tuple[Approval, ...] = ()  # rejections, too


def statement(job_uid: str, said: Approval) -> bytes:
    """Canonical JSON (RFC 8785) of what is signed. The number 0 is left out, as it was when there were no numbers."""
    numbered = {"number": said.number} if said.number else {}
    return rfc8785.dumps(
        {
            **numbered,
            "purpose": PURPOSE,
            "jobUid": job_uid,
            "approver": said.approver,
            "decision": said.decision,
            "modelSHA256": said.model_sha256,
            "cardSHA256": said.card_sha256,
        }
    )


def signed(key: SigningKey, job_uid: str, said: Approval) -> Approval:
    """The same with its signature."""
    return said._replace(signature=key.signature(statement(job_uid, said)))


def verdict(
    approvers: Sequence[Approver],
    required: int,
    approvals: Iterable[Approval],
    job_uid: str,
    model_sha256: str,
    told: Mapping[str, Told] = MappingProxyType({}),
) -> Verdict:
    """Of the model of that digest. One rejection keeps it back; approvals count by approver, and together for one card.

    `told`: by approver, what the ledger tells; a decision that is older does not count.
    """
    keys = {each.name: each.public_key for each in approvers}
    notes: list[str] = []
    counted: list[Approval] = []
    of_card: dict[str, set[str]] = {}
    rejected: set[str] = set()
    for each in approvals:
        if doubt := _doubt(keys.get(each.approver), each, job_uid, model_sha256) or _older(each, told):
            notes.append(f"the decision of {each.approver!r} does not count: {doubt}")
            continue
        counted.append(each)
        if each.decision == "Reject":
            rejected.add(each.approver)
        else:
            of_card.setdefault(each.card_sha256, set()).add(each.approver)
    if rejected:
        return Verdict(
            "Rejected", f"rejected by {', '.join(sorted(rejected))}", frozenset(), tuple(notes), tuple(counted)
        )
    cards = frozenset(card for card, names in of_card.items() if len(names) >= required)
    if cards:
        names = sorted(set().union(*(of_card[card] for card in cards)))
        return Verdict("Approved", f"approved by {', '.join(names)}", cards, tuple(notes), tuple(counted))
    have = max(map(len, of_card.values()), default=0)
    message = f"{have} of {required} approvals of model {model_sha256}"
    return Verdict("Waiting", message, frozenset(), tuple(notes), tuple(counted))


def _doubt(public_key: str | None, said: Approval, job_uid: str, model_sha256: str) -> str:
    """Why it does not count; empty when it does."""
    if public_key is None:
        return "spec.release.approvers has nobody of that name"
    try:
        is_signed = verifies(base64.b64decode(public_key, validate=True), said.signature, statement(job_uid, said))
    except ValueError:  # a key that is no base64
        is_signed = False
    if not is_signed:
        return "the signature is not that of the approver's key, for this job"
    if said.decision not in {"Approve", "Reject"}:
        return f"{said.decision!r} is no decision"
    return "" if said.model_sha256 == model_sha256 else f"it is about model {said.model_sha256}"


def _older(said: Approval, told: Mapping[str, Told]) -> str:
    """How it is older than what the ledger tells of the approver; empty when it is not."""
    last = told.get(said.approver)
    if last is None or last.signature == said.signature or said.age > last.age:
        return ""
    return (
        f"it is {_called(said.age)}, and the ledger tells {_called(last.age)}, which is newer: `fedloom model approve` and "
        "`fedloom model reject` take the next number"
    )


def _called(age: Age) -> str:
    return f"number {age.number} ({age.decision})"
