"""The hub's side of an encrypted sum: a state machine, values in, values out. Pure, and without the library; called by tests alone as yet.

Advertise, Mask and Consent are those of fedcore.secagg.hub. In Share it takes the key that one site has made, of which it can read nothing,
and in Open what the sites say the sum is: all the same, or there is none. What is durable, and when, is as there.
"""

from typing import TypeVar

from pydantic import Field

from fedapi.wire.encryptedsum import KeyDelivery, OpenedSum, SealedKey, SumRequest, TagBytes
from fedapi.wire.message import Record, Sha256
from fedapi.wire.secagg import Participants, SiteName
from fedcore.homomorphic import agreement
from fedcore.homomorphic.addition import added_tags, tag_numbers
from fedcore.homomorphic.errors import MalformedError
from fedcore.secagg import agreement as agreeing
from fedcore.secagg import hub
from fedcore.secagg.agreement import View
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.hub import HubState

LEAST_AGREEING = 2  # sites that must say the same of a sum: one alone could say anything
_Value = TypeVar("_Value")


class EncryptedState(Record):
    """All that was said in an attempt. No key that the hub could use is in it."""

    exchange: HubState = Field(description="What is as with masks: advertisements, participants, survivors, consents.")
    key: SealedKey | None = None
    tags: dict[SiteName, TagBytes] = {}
    request: SumRequest | None = None
    opened: dict[SiteName, OpenedSum] = {}


def maker(state: EncryptedState) -> str:
    """The site that is asked for a key, once advertising is closed."""
    participants = _reached(state.exchange.participants)
    return agreement.maker(_seen(state, participants).bond, participants)


def keyed(state: EncryptedState, said: SealedKey) -> EncryptedState:
    """Takes the maker's word; with it sharing is closed."""
    participants = _reached(state.exchange.participants)
    seen, asked = _seen(state, participants), maker(state)
    if said.site != asked or said.participants_sha256 != seen.fingerprint:
        raise RefusedError(f"site {said.site!r} is not the one that makes the key of this attempt")
    if said.sealed.keys() != seen.said.keys() - {asked}:
        raise RefusedError(f"site {said.site!r} did not seal the key to all other participants and nobody else")
    if state.key not in (None, said):
        raise RefusedError(f"site {said.site!r} said another key before")
    sharers = tuple(sorted(seen.said))
    return state.model_copy(update={"key": said, "exchange": state.exchange.model_copy(update={"sharers": sharers})})


def delivery(state: EncryptedState, site: str) -> KeyDelivery:
    """What a participant is told of the key. AttemptFailedError where its maker was lost: the next attempt has another one."""
    if (said := state.key) is None:
        raise AttemptFailedError(f"site {maker(state)!r} was to make the key, and did not")
    return KeyDelivery(maker=said.site, sealed=said.sealed.get(site), key=said.key)


def handed_in(state: EncryptedState, site: str, sha256: Sha256, tag: bytes) -> EncryptedState:
    """Takes note that a site's encrypted update is there, whole and durable, and of its tag."""
    try:
        tag_numbers(tag)
    except MalformedError as error:
        raise RefusedError(f"site {site!r}: {error}") from error
    if state.tags.get(site, tag) != tag:
        raise RefusedError(f"site {site!r} said another tag before")
    exchange = hub.masked(state.exchange, site, sha256)
    return state.model_copy(update={"exchange": exchange, "tags": {**state.tags, site: tag}})


def request(state: EncryptedState) -> tuple[EncryptedState, SumRequest]:
    """Closes the consistency round: what every site that has signed is asked for, with the sum."""
    if state.request is None:
        survivors = _reached(state.exchange.survivors).survivors
        exchange, masks = hub.request(state.exchange)
        asked = SumRequest(consents=masks.consents, tag=added_tags(state.tags[name] for name in sorted(survivors)))
        state = state.model_copy(update={"exchange": exchange, "request": asked})
    return state, _reached(state.request)


def opened(state: EncryptedState, said: OpenedSum) -> EncryptedState:
    """Takes what a site says the sum is."""
    _reached(state.request)
    if said.site not in state.exchange.consents:
        raise RefusedError(f"site {said.site!r} has not signed the survivor set")
    if state.opened.get(said.site, said) != said:
        raise RefusedError(f"site {said.site!r} said another sum before")
    return state.model_copy(update={"opened": {**state.opened, said.site: said}})


def agreed(state: EncryptedState) -> Sha256:
    """Closes the attempt: the digest of the numbers. AttemptFailedError where too few say one, or sites say different ones, and who."""
    found: dict[Sha256, list[str]] = {}
    for name in sorted(state.opened):
        found.setdefault(state.opened[name].sha256, []).append(name)
    if len(found) > 1:
        told = "; ".join(f"{sha256[:12]} of {', '.join(names)}" for sha256, names in sorted(found.items()))
        raise AttemptFailedError(f"sites decrypted different sums, so that some of them lie or are broken: {told}")
    if len(state.opened) < LEAST_AGREEING:
        raise AttemptFailedError(f"{len(state.opened)} sites opened the sum, {LEAST_AGREEING} must say the same")
    return next(iter(found))


def _seen(state: EncryptedState, participants: Participants) -> View:
    return agreeing.view(state.exchange.terms, participants)


def _reached(value: _Value | None) -> _Value:
    if value is None:
        raise RefusedError("it is too early: the step before is not over")
    return value
