"""Whether the updates of a job's commits carry the signatures of their sites: by the public keys alone, without the hub.

Called by `fedloom ledger verify`. Reads only, and blocks. A key that was revoked since counts: what it signed before stays what
it is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedapi.wire import statement
from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.layout import Layout
from fedapi.wire.signature import SiteKey
from fedapi.wire.signing import verifies
from fedapi.wire.store import Head
from fedstore import history
from fedstore.history import Readable

Keys = Mapping[str, Sequence[SiteKey]]  # by site


@dataclass(frozen=True)
class Checked:
    """What was found. `wrong`: the first update that its site has not signed; empty where there is none."""

    verified: int
    keyless: Mapping[str, int]  # updates of sites of which no key is known, or was valid by then
    wrong: str


def checked(store: Readable, layout: Layout, keys: Keys) -> Checked:
    """Of each update of each commit that HEAD reaches."""
    found = history.read_head(store, layout)
    verified, wrong = 0, ""
    keyless: Counter[str] = Counter()
    for link in history.chain(store, layout, found[0]) if found else ():
        faults = []
        for each, fault in _updates(link.record, found[0] if found else None, layout.uid, keys):
            if fault is None:
                keyless[each.client] += 1
            elif fault:
                faults.append(f"{link.key}: the update of site {each.client!r} in round {link.record.round} {fault}")
            else:
                verified += 1
        wrong = faults[0] if faults else wrong  # commits come newest first
    return Checked(verified, keyless, wrong)


def _updates(commit: CommitRecord, head: Head | None, uid: str, keys: Keys) -> Iterator[tuple[Participant, str | None]]:
    """Each with what is wrong with its signature; empty: nothing, None: its site had no key."""
    uids = (commit.job_uid, *sorted((head.uids(uid) if head else frozenset()) - {commit.job_uid}))
    for each in commit.participants:
        known = keys.get(each.client, ())
        if each.signed is None and all((key.not_before or 0.0) > commit.planned_at for key in known):
            yield each, None
        else:
            yield each, _fault(commit, each, known, uids)


def _fault(commit: CommitRecord, of: Participant, known: Sequence[SiteKey], uids: Sequence[str]) -> str | None:
    if of.signed is None:
        return "is not signed, and the site has a key"
    signed = of.signed
    if not known:
        return None
    key = next((each for each in known if each.id == signed.key_id), None)
    if key is None:
        return f"is signed by key {signed.key_id}, which is none of the site's"
    # To another job it was sent where a restore came in between.
    if any(verifies(key.raw, signed.signature, statement.of_participant(commit, of, signed, uid)) for uid in uids):
        return ""
    return f"is not what key {signed.key_id} has signed"
