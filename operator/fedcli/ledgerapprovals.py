"""What a ledger tells of the release of the job's model, and whether its approvers have signed that. Used by ledger.py."""

import base64
from collections.abc import Iterator

from fedapi.wire import release
from fedapi.wire.release import Approval
from fedapi.wire.signing import verifies
from fedcli.errors import CommandError
from fedcore.ledger.entries import Entry

_DECISIONS = {"approved": "Approve", "rejected": "Reject"}


def told(entries: list[Entry]) -> Iterator[str]:
    """A line for each decision, and for each time that the model was released.

    CommandError names what an approver has not signed, or what is older than what the ledger had told of that approver.
    """
    newest: dict[tuple[str, str], int] = {}  # by job and approver
    for number, each in enumerate(entries):
        if each.kind in _DECISIONS:
            yield _decision(number, each)
            _require_newer(number, each, newest)
        elif each.kind == "released":
            names = each.facts.get("approvers")
            by = ", ".join(names) if isinstance(names, list) else ""
            yield f"entry {number}: model {each.facts.get('model_sha256')} was released, as {by} approved"


def _decision(number: int, said: Entry) -> str:
    named = ("job_uid", "approver", "public_key", "model_sha256", "card_sha256", "signature")
    job_uid, name, key, model, card, signature = (str(said.facts.get(fact)) for fact in named)
    try:
        made = Approval(name, _DECISIONS[said.kind], model, card, signature, _number(said))
        is_signed = verifies(base64.b64decode(key, validate=True), signature, release.statement(job_uid, made))
    except ValueError:  # a key that is no base64, or a number that is none
        is_signed = False
    if not is_signed:
        raise CommandError(
            f"the ledger is broken: entry {number} is not signed by the key of {name} that it names: {key}"
        )
    return f"entry {number}: {name} has {said.kind} model {model}, card {card}, by the key {key}, number {made.number}"


def _number(said: Entry) -> int:
    """Of the decision; 0 of those that were made when there were no numbers. ValueError."""
    return int(str(said.facts.get("number", 0)))


def _require_newer(number: int, said: Entry, newest: dict[tuple[str, str], int]) -> None:
    of, its_number = (str(said.facts.get("job_uid")), str(said.facts.get("approver"))), _number(said)
    if its_number < newest.get(of, 0):
        raise CommandError(
            f"the ledger is broken: entry {number} is decision {its_number} of {of[1]}, who had made decision {newest[of]} before"
        )
    newest[of] = its_number
