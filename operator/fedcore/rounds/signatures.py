"""Whether what a site says is signed by a key of its own, and the signatures of updates that are in no commit yet. Pure.

Asked by the aggregator before anything of a message is looked at, and again of records when it starts. A site without keys signs
nothing. A key that is revoked, or not valid at that time, signs nothing new; what it signed before stays what it is.
"""

from collections.abc import Mapping
from dataclasses import replace

from fedapi.wire.commit import CommitRecord
from fedapi.wire.message import MAX_EXACT
from fedapi.wire.protocol import KEY, SIGNATURES
from fedapi.wire.signature import Signed, SiteKey
from fedapi.wire.site import Refusal
from fedcore.rounds import window
from fedcore.rounds.events import Accepted
from fedcore.rounds.state import State

Shown = tuple[str | None, str | None]  # key id and signature, as they came
_KEYS = "FLClient {!r}, spec.identity.keys"


def keys(state: State, client: str) -> tuple[SiteKey, ...]:
    """Those of a site, revoked ones included; empty: it need not sign."""
    return state.config.identities.get(client, ())


def refusal(known: tuple[SiteKey, ...], client: str, shown: Shown, statement: bytes, now: float) -> Refusal | None:
    """Why a site with these keys is not heard; None: the statement is its own, or it has no keys."""
    if not known:
        return None
    key_id, signature = shown
    if key_id is None or signature is None:
        way_out = "give its trainer the site's key (docs/security.md, Keys of sites)"
        return Refusal(code="Unsigned", message=f"site {client!r} has keys, and this is not signed by one: {way_out}")
    key = next((each for each in known if each.id == key_id), None)
    if key is None or key.revoked or not is_valid(key, now):
        return _unusable(key, key_id, client)
    if not _verifies(key, signature, statement):
        message = f"the signature by key {key_id} is not over this message of site {client!r} for this job and round"
        return Refusal(code="WrongSignature", message=message)
    return None


def _unusable(key: SiteKey | None, key_id: str, client: str) -> Refusal:
    where = _KEYS.format(client)
    if key is None:
        return Refusal(code="UnknownKey", message=f"key {key_id} is not in {where}: put its public key there")
    if key.revoked:
        return Refusal(code="RevokedKey", message=f"key {key_id} is revoked in {where}: sign by another")
    return Refusal(code="UnknownKey", message=f"key {key_id} is not valid now by {where} (notBefore, notAfter)")


def doubt(known: tuple[SiteKey, ...], shown: Shown, statement: bytes) -> str:
    """What is wrong with a record that was taken before; empty: the site has no keys, or signed it by one, also by one revoked since."""
    if not known:
        return ""
    key_id, signature = shown
    if key_id is None or signature is None:
        return "it is not signed, and its site has keys"
    key = next((each for each in known if each.id == key_id), None)
    if key is None:
        return f"its key {key_id} is none of its site's"
    return "" if _verifies(key, signature, statement) else f"its signature by key {key_id} is not over it"


def keyless(state: State, client: str) -> str:
    """Why a site gets no order, because it could not sign what comes of it; empty when it can, need not, or has not spoken yet."""
    speech, known = state.site(client).speech, keys(state, client)
    if speech is None or not known:
        return ""
    if SIGNATURES not in speech.features:
        text = "it has keys (spec.identity), and its trainer has none to sign by"
        return f"{text}: give it the site's key, or build its task image with a trainer of this hub's version"
    usable = {f"{KEY}{each.id}" for each in known if not each.revoked}
    said = sorted(each for each in speech.features if each.startswith(KEY))
    if usable.intersection(said):
        return ""
    named = ", ".join(said).replace(KEY, "") or "that it does not name"
    return f"its trainer signs by a key {named}, which is revoked or not in spec.identity.keys: put it there, or exchange the site's key"


def untimely(state: State, client: str, now: float) -> str:
    """Why a site gets no order at this time, whose trainer signs by a key of its own that is not valid now; empty where it is, or none is.

    That passes: by the clock, by another key at the site, or in its FLClient. So nothing else is wrong with the site.
    """
    speech = state.site(client).speech
    said = [key for key in keys(state, client) if speech and not key.revoked and f"{KEY}{key.id}" in speech.features]
    if not said or any(is_valid(key, now) for key in said):
        return ""
    way_out = "change that, or exchange the site's key"
    return f"its trainer signs by key {said[-1].id}, which is not valid now by {_KEYS.format(client)} (notBefore, notAfter): {way_out}"


def may_sign(state: State, client: str) -> bool:
    """Whether a site has a key that is not revoked."""
    return any(not key.revoked for key in keys(state, client))


def noted(state: State, event: Accepted) -> State:
    """The state with the signature of an update that is taken."""
    if event.signed is None:
        return state
    manifest = event.manifest
    place = (manifest.client, manifest.round, manifest.attempt)
    return replace(state, signed={**state.signed, place: event.signed})


def left(state: State, commit: CommitRecord) -> Mapping[tuple[str, int, int], Signed]:
    """Those that a later commit may need. Called with that commit as the tip."""
    oldest = window.since(state) if window.is_asynchronous(state.config) else commit.round + 1
    orders = ((each, each.order or commit) for each in commit.participants)
    done = {(each.client, order.round, order.attempt) for each, order in orders}
    return {place: signed for place, signed in state.signed.items() if place[1] >= oldest and place not in done}


def is_valid(key: SiteKey, now: float) -> bool:
    """Whether it is so at that time, but for revocation."""
    return (key.not_before or 0.0) <= now < (key.not_after or MAX_EXACT)


def _verifies(key: SiteKey, signature: str, statement: bytes) -> bool:
    from fedapi.wire.signing import verifies  # noqa: PLC0415 - `cryptography` is loaded where sites have keys

    return verifies(key.raw, signature, statement)
