"""The hub's side of an encrypted sum: a state machine, values in, values out. Pure, and without the library.

Advertise, Mask and Consent are those of fedcore.secagg.hub, on the same state. In Share it takes the key that one site has made, of which it
can read nothing, and in Open what the sites say the sum is: all the same, or there is none. What is durable, and when, is as there.
"""

from typing import TypeVar

from fedapi.wire.encryptedsum import KeyDelivery, OpenedSum, SealedKey, SumRequest, TagBytes
from fedapi.wire.message import Sha256
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


class EncryptedState(HubState):
    """All that was said in an attempt, without shares and openings. No key that the hub could use is in it."""

    key: SealedKey | None = None
    tags: dict[SiteName, TagBytes] = {}
    numbers: dict[SiteName, OpenedSum] = {}


def maker(state: EncryptedState) -> str:
    """The site that is asked for a key, once advertising is closed."""
    return agreement.maker(_seen(state, _reached(state.participants)))


def keyed(state: EncryptedState, said: SealedKey) -> EncryptedState:
    """Takes the maker's word."""
    participants = _reached(state.participants)
    seen, asked = _seen(state, participants), maker(state)
    if said.site != asked or said.participants_sha256 != seen.fingerprint:
        raise RefusedError(f"site {said.site!r} is not the one that makes the key of this attempt")
    if said.sealed.keys() != seen.said.keys() - {asked}:
        raise RefusedError(f"site {said.site!r} did not seal the key to all other participants and nobody else")
    if state.key not in (None, said):
        raise RefusedError(f"site {said.site!r} said another key before")
    return state.model_copy(update={"key": said})


def delivered(state: EncryptedState) -> EncryptedState:
    """Closes sharing: all participants get the key. AttemptFailedError where its maker was lost: the next attempt asks another one."""
    if state.key is None:
        raise AttemptFailedError(f"site {maker(state)!r} was to make the key, and did not")
    return state.model_copy(update={"sharers": tuple(sorted(_seen(state, _reached(state.participants)).said))})


def delivery(state: EncryptedState, site: str) -> KeyDelivery:
    """What a participant is told of the key."""
    said = _reached(state.key)
    return KeyDelivery(maker=said.site, sealed=said.sealed.get(site), key=said.key)


def handed_in(state: EncryptedState, site: str, sha256: Sha256, tag: bytes) -> EncryptedState:
    """Takes note that a site's encrypted update is there, whole and durable, and of its tag."""
    try:
        tag_numbers(tag)
    except MalformedError as error:
        raise RefusedError(f"site {site!r}: {error}") from error
    if state.tags.get(site, tag) != tag:
        raise RefusedError(f"site {site!r} said another tag before")
    found = hub.masked(state, site, sha256)
    return found.model_copy(update={"tags": {**state.tags, site: tag}})


def sum_request(state: EncryptedState) -> SumRequest:
    """What every site that has signed is asked for, with the sum, once the consistency round is closed."""
    asked, survivors = _reached(state.request), _reached(state.survivors).survivors
    return SumRequest(consents=asked.consents, tag=added_tags(state.tags[name] for name in sorted(survivors)))


def opened(state: EncryptedState, said: OpenedSum) -> EncryptedState:
    """Takes what a site says the sum is."""
    _reached(state.request)
    if said.site not in state.consents:
        raise RefusedError(f"site {said.site!r} has not signed the survivor set")
    if said.sha256 == state.masked_sha256.get(said.site):
        raise RefusedError(f"what site {said.site!r} says of the sum is that of its own update")
    if state.numbers.get(said.site, said) != said:
        raise RefusedError(f"site {said.site!r} said another sum before")
    return state.model_copy(update={"numbers": {**state.numbers, said.site: said}})


def agreed(state: EncryptedState) -> Sha256:
    """Closes the attempt: the digest of the numbers. AttemptFailedError where too few say one, or sites say different ones, and who."""
    found: dict[Sha256, list[str]] = {}
    for name in sorted(state.numbers):
        found.setdefault(state.numbers[name].sha256, []).append(name)
    if len(found) > 1:
        told = "; ".join(f"{sha256[:12]} of {', '.join(names)}" for sha256, names in sorted(found.items()))
        raise AttemptFailedError(f"sites decrypted different sums, so that some of them lie or are broken: {told}")
    if len(state.numbers) < LEAST_AGREEING:
        raise AttemptFailedError(
            f"sites that opened the sum: {len(state.numbers)}, and {LEAST_AGREEING} must say the same"
        )
    return next(iter(found))


def _seen(state: EncryptedState, participants: Participants) -> View:
    return agreeing.view(state.terms, participants)


def _reached(value: _Value | None) -> _Value:
    if value is None:
        raise RefusedError("it is too early: the step before is not over")
    return value
