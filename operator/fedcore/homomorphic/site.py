"""A site's side of an encrypted sum: values in, values out. Called by the trainer's agent.

The steps are those of fedcore.secagg.site: start -> advertise -> share (the maker alone) -> delivered -> encrypted -> handed_in ->
consent -> read. The caller makes a new state durable BEFORE it sends what came with it: at the maker the scheme's key too, which the library
draws, and the vector, which is other bytes when it is encrypted again.
"""

from collections.abc import Iterable, Sequence

from pydantic import Field

from fedapi.wire.encryptedsum import KeyBytes, KeyDelivery, SealedKey, SumRequest
from fedapi.wire.message import Record, Sha256
from fedapi.wire.secagg import Advertisement, Consent, Delivery, Participants, SurvivorSet
from fedcore.homomorphic import agreement, vectors
from fedcore.homomorphic.addition import Coefficients, size
from fedcore.homomorphic.contexts import SiteKey
from fedcore.homomorphic.errors import MalformedError
from fedcore.homomorphic.parameters import COEFFICIENT_BYTES
from fedcore.homomorphic.sealing import ContentKey
from fedcore.homomorphic.vectors import Numbers
from fedcore.secagg import agreement as agreeing
from fedcore.secagg import site
from fedcore.secagg.agreement import View
from fedcore.secagg.errors import RefusedError, SpentKeysError
from fedcore.secagg.keys import Keys
from fedcore.secagg.site import Sign, SiteState


class EncryptingState(Record):
    """What a site has to know to go on. Secret: seed and keys are in it."""

    exchange: SiteState = Field(repr=False, description="What is as with masks: terms, seed, participants, survivors.")
    made: KeyBytes | None = Field(None, repr=False, description="The scheme's key, at the site that made it.")
    delivery: KeyDelivery | None = Field(None, repr=False)


def start(exchange: SiteState) -> EncryptingState:
    """Takes part in an attempt, which secagg.site.start has begun."""
    if exchange.terms.scheme is None:
        raise RefusedError("the terms are about masks")
    return EncryptingState(exchange=exchange)


def advertise(state: EncryptingState, sign: Sign) -> Advertisement:
    """As with masks."""
    return site.advertise(state.exchange, sign)


def share(state: EncryptingState, participants: Participants) -> tuple[EncryptingState, SealedKey]:
    """The maker's word: a key that is new for this attempt, sealed to each other participant."""
    state = _among(state, participants)
    seen, own = _seen(state), state.exchange.site
    if agreement.maker(seen) != own:
        raise RefusedError("another site makes the key of this attempt")
    saved = state.made or SiteKey().saved()
    content, secret = ContentKey.made(state.exchange.seed, seen.bond), _secret(state, seen)
    sealed = {
        name: content.sealed(own, secret, name, said.share_key) for name, said in seen.said.items() if name != own
    }
    said = SealedKey(site=own, participants_sha256=seen.fingerprint, sealed=sealed, key=content.locked(saved))
    return state.model_copy(update={"made": saved}), said


def delivered(state: EncryptingState, participants: Participants, delivery: KeyDelivery) -> EncryptingState:
    """Takes the key that the maker has made. Another one than before is refused."""
    state = _among(state, participants)
    if state.delivery not in (None, delivery):
        raise RefusedError("another key was delivered before")
    if delivery.maker != agreement.maker(_seen(state)):
        raise RefusedError(f"site {delivery.maker!r} is not the one that makes the key of this attempt")
    state = state.model_copy(update={"delivery": delivery})
    _unlocked(state)
    sharers = Delivery(sharers=tuple(sorted(_seen(state).said)), sealed={})
    return _with(state, delivery=sharers)


def encrypted(state: EncryptingState, numbers: Numbers) -> Iterable[Coefficients]:
    """An update of whole numbers, ciphertext by ciphertext. Others each time: only one of them is handed in."""
    if numbers.size != state.exchange.terms.items:
        raise RefusedError(f"an update has {numbers.size} values, by the terms it is {state.exchange.terms.items}")
    return vectors.encrypted_rows(_unlocked(state)[1], numbers)


def handed_in(state: EncryptingState, rows: Iterable[Coefficients]) -> tuple[EncryptingState, bytes]:
    """The tag of the one vector of this attempt. SpentKeysError for a second one: it was encrypted anew, or is of another update."""
    sha256, tag = _unlocked(state)[0].tags().of(state.exchange.site, rows)
    if state.exchange.masked_sha256 not in (None, sha256):
        raise SpentKeysError("another encrypted update was handed in before: the site takes part in the next attempt")
    return _with(state, masked_sha256=sha256), tag


def consent(state: EncryptingState, survivors: SurvivorSet, sign: Sign) -> tuple[EncryptingState, Consent]:
    """Signs the one survivor set of this attempt."""
    exchange, said = site.consent(state.exchange, survivors, sign)
    return state.model_copy(update={"exchange": exchange}), said


def read(state: EncryptingState, request: SumRequest, rows: Sequence[Coefficients]) -> Numbers:
    """The numbers of the sum: nothing but that of the survivors that this site and enough others have signed. The same whenever it is asked.

    RefusedError for any other, before anything of it is decrypted; NotASumError where a site has spoilt it.
    """
    survivors = state.exchange.survivors
    if survivors is None:
        raise RefusedError("it is too early: no survivor set came yet")
    agreeing.check_consents(_seen(state), survivors, request.consents)
    content, key = _unlocked(state)
    items = state.exchange.terms.items
    try:
        if size(items) != COEFFICIENT_BYTES * len(rows):
            raise RefusedError(f"a sum of {items} values is not {len(rows)} ciphertexts")
        if not content.tags().hold(request.tag, survivors.survivors, rows):
            raise RefusedError("what is to be decrypted is not the sum of the updates that this site agreed to")
        return vectors.decrypted(key, rows, items)
    except MalformedError as error:
        raise RefusedError(str(error)) from error


def _among(state: EncryptingState, participants: Participants) -> EncryptingState:
    """With the participants, once they are seen to be sites of the roster, and this one as it advertised."""
    known = state.exchange.participants
    if known is None:
        agreeing.check_participants(state.exchange.terms, participants)
        site.check_own(state.exchange, participants)
    elif known != participants:
        raise RefusedError("other participants were named before")
    return _with(state, participants=participants)


def _unlocked(state: EncryptingState) -> tuple[ContentKey, SiteKey]:
    """RefusedError where no key of this attempt was delivered."""
    delivery, seen, own = state.delivery, _seen(state), state.exchange.site
    if delivery is None:
        raise RefusedError("it is too early: no key came yet")
    try:
        if delivery.maker == own:
            content = ContentKey.made(state.exchange.seed, seen.bond)
        else:
            maker_key, secret = seen.said[delivery.maker].share_key, _secret(state, seen)
            content = ContentKey.unsealed(delivery.sealed or b"", seen.bond, delivery.maker, maker_key, own, secret)
        return content, content.unlocked(delivery.key)
    except MalformedError as error:
        raise RefusedError(str(error)) from error


def _secret(state: EncryptingState, seen: View) -> bytes:
    return Keys.made(state.exchange.seed, seen.bond.context).share_secret


def _seen(state: EncryptingState) -> View:
    if state.exchange.participants is None:
        raise RefusedError("it is too early: no participants came yet")
    return agreeing.view(state.exchange.terms, state.exchange.participants)


def _with(state: EncryptingState, **changes: Participants | Delivery | Sha256) -> EncryptingState:
    return state.model_copy(update={"exchange": state.exchange.model_copy(update=changes)})
