"""A site's side of secure aggregation: a state machine, values in, values out. Pure; called by the trainer's agent.

start -> advertise -> share -> mask -> consent -> open_. The caller makes the new state durable BEFORE it sends what came with it:
then a killed site goes on where it was, and everything that it says again is the same to the byte. A step that was made is made
again only with the same input. Once the attempt is over the state, with its seed, is deleted.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import Field

from fedapi.wire.message import Record, Sha256
from fedapi.wire.secagg import (
    SHARE_BYTES,
    Advertisement,
    Consent,
    Delivery,
    Key,
    Opening,
    Participants,
    Shares,
    SiteName,
    SurvivorSet,
    Terms,
    UnmaskRequest,
)
from fedapi.wire.tokens import hkdf
from fedcore.secagg import agreement, keys, masking, shamir
from fedcore.secagg.agreement import View
from fedcore.secagg.errors import RefusedError, SpentKeysError
from fedcore.secagg.keys import Keys
from fedcore.secagg.masking import Mask
from fedcore.tensors.arithmetic import Array

_Value = TypeVar("_Value")
Sign = Callable[[bytes], bytes]  # Ed25519, by the key that is in the roster


class SiteState(Record):
    """What a site has to know to go on. Secret: the seed is in it."""

    site: SiteName
    terms: Terms
    seed: Key = Field(repr=False)
    participants: Participants | None = None
    delivery: Delivery | None = Field(None, repr=False)
    masked_sha256: Sha256 | None = None
    survivors: SurvivorSet | None = None


def start(site: str, terms: Terms, pinned: Mapping[str, bytes], seed: bytes) -> SiteState:
    """Takes part in an attempt. `pinned`: the sites' keys as this site knows them; `seed`: 32 random bytes, new for each attempt."""
    unknown = sorted(name for name, key in terms.roster.items() if pinned.get(name) != key)
    if unknown:
        raise RefusedError(f"the roster has sites or keys that are not pinned here: {unknown[:5]}")
    if site not in terms.roster:
        raise RefusedError(f"site {site!r} is not in the roster")
    return SiteState(site=site, terms=terms, seed=seed)


def advertise(state: SiteState, sign: Sign) -> Advertisement:
    """The site's public keys, signed."""
    context = state.terms.context()
    own = Keys.made(state.seed, context)
    bare = Advertisement(
        site=state.site,
        mask_key=keys.public(own.mask_secret),
        share_key=keys.public(own.share_secret),
        seed_commitment=keys.commitment(own.self_seed, context, state.site),
        signature=bytes(64),
    )
    return bare.model_copy(update={"signature": sign(agreement.advertisement_bytes(context, bare))})


def share(state: SiteState, participants: Participants) -> tuple[SiteState, Shares]:
    """Shares of the site's secrets, for its neighbours."""
    if state.participants is None:
        agreement.check_participants(state.terms, participants)
        check_own(state, participants)
    elif participants != state.participants:
        raise RefusedError("other participants were named before")
    seen = agreement.view(state.terms, participants)
    secret = Keys.made(state.seed, seen.bond.context).share_secret
    sealed = {
        holder: seen.bond.sealed(both, state.site, secret, holder, seen.said[holder].share_key)
        for holder, both in _shares(state, seen).items()
        if holder != state.site
    }
    said = Shares(site=state.site, participants_sha256=seen.fingerprint, sealed=sealed)
    return state.model_copy(update={"participants": participants}), said


def mask(state: SiteState, delivery: Delivery, vector: Array) -> SiteState:
    """Masks a quantized update (uint32) in place. SpentKeysError, and zeros in its place, where the keys masked other bytes."""
    seen = _seen(state)
    if state.delivery is None:
        _check_delivery(state.site, seen, delivery)
    elif delivery != state.delivery:
        raise RefusedError("other shares were delivered before")
    if vector.size != state.terms.items:
        raise RefusedError(f"an update has {vector.size} values, by the terms it is {state.terms.items}")
    masking.apply(vector, _masks(state, seen, delivery))
    found = hashlib.sha256(vector.data).hexdigest()
    if state.masked_sha256 not in (None, found):
        vector[:] = 0
        raise SpentKeysError("the keys of this attempt have masked another update: the site takes part in the next one")
    return state.model_copy(update={"delivery": delivery, "masked_sha256": found})


def consent(state: SiteState, survivors: SurvivorSet, sign: Sign) -> tuple[SiteState, Consent]:
    """Signs the one survivor set of this attempt."""
    delivery, seen = _known(state.delivery, "shares"), _seen(state)
    if state.survivors not in (None, survivors):
        raise RefusedError("another survivor set was signed before")
    agreement.check_survivors(seen, survivors)
    if survivors.sharers != delivery.sharers:
        raise RefusedError("the survivor set names other sharers than those whose shares were delivered")
    if survivors.survivors.get(state.site) != state.masked_sha256:
        raise RefusedError("the survivor set has not what this site sent")
    signature = sign(agreement.consent_bytes(seen.bond.context, survivors))
    return state.model_copy(update={"survivors": survivors}), Consent(site=state.site, signature=signature)


def open_(state: SiteState, request: UnmaskRequest) -> Opening:
    """The shares that the sum needs: of each site one kind, as the signed survivor set says. The same whenever it is asked."""
    survivors, delivery = _known(state.survivors, "survivor set"), _known(state.delivery, "shares")
    seen = _seen(state)
    agreement.check_consents(seen, survivors, request.consents)
    seeds_of, mask_keys_of = agreement.asked(seen, survivors, [each.site for each in request.consents])
    if (request.seeds_of, request.mask_keys_of) != (seeds_of, mask_keys_of):
        raise RefusedError("the request asks for other shares than those of the survivor set that was signed")
    if state.site not in seeds_of:
        raise RefusedError("too few of the group of this site have signed the survivor set")
    held = _held(state, seen, delivery)
    seeds = {name: both[SHARE_BYTES:] for name, both in held.items() if name in seeds_of}
    mask_keys = {name: both[:SHARE_BYTES] for name, both in held.items() if name in mask_keys_of}
    return Opening(site=state.site, seeds=seeds, mask_keys=mask_keys)


def noise_key(state: SiteState) -> bytes:
    """Of what this site rounds and adds as its share of the noise: of this attempt alone, and nobody else has it."""
    return hkdf(state.seed, keys.bound("noise", state.terms.context()))


def check_own(state: SiteState, participants: Participants) -> None:
    """The participants have what this site advertised."""
    own = advertise(state, lambda _: bytes(64))
    there = [each for each in participants.advertisements if each.site == state.site]
    if [each.model_copy(update={"signature": own.signature}) for each in there] != [own]:
        raise RefusedError("the participants have not what this site advertised")


def _check_delivery(site: str, seen: View, delivery: Delivery) -> None:
    agreement.check_present(seen, delivery.sharers, "sharers")
    if site not in delivery.sharers:
        raise RefusedError("this site is not among the sharers")
    if set(delivery.sealed) != set(seen.ring(site).neighbours(site)) & set(delivery.sharers):
        raise RefusedError("the shares are not those of all neighbours that shared")


def _masks(state: SiteState, seen: View, delivery: Delivery) -> list[Mask]:
    own = Keys.made(state.seed, seen.bond.context)
    said = ((name, seen.said[name].mask_key) for name in delivery.sealed)
    pairs = [seen.bond.pair_mask(state.site, own.mask_secret, name, key) for name, key in said]
    return [seen.bond.self_mask(own.self_seed), *pairs]


def _shares(state: SiteState, seen: View) -> dict[str, bytes]:
    """By holder: its share of the mask key, and of the self-mask's seed. The same each time: coefficients come from the seed."""
    own, ring = Keys.made(state.seed, seen.bond.context), seen.ring(state.site)
    holders, threshold = ring.holders(state.site), ring.threshold
    places = range(1, len(holders) + 1)
    both = [
        shamir.shares(secret, places, threshold, _coefficients(state.seed, label, seen.bond, threshold - 1))
        for label, secret in ((b"mask key", own.mask_secret), (b"self-mask seed", own.self_seed))
    ]
    return {holder: first + second for holder, first, second in zip(holders, *both, strict=True)}


def _coefficients(seed: bytes, label: bytes, bond: keys.Attempt, count: int) -> bytes:
    key = hkdf(seed, keys.bound("coefficients", label, bond.context, bond.participants))
    return masking.keystream(key, count * shamir.WIDE_BYTES)


def _held(state: SiteState, seen: View, delivery: Delivery) -> dict[str, bytes]:
    """By owner: the shares that this site holds. Where an owner, or the hub, sent something else, those of others are enough."""
    secret = Keys.made(state.seed, seen.bond.context).share_secret
    opened = {
        name: seen.bond.unsealed(sealed, name, seen.said[name].share_key, state.site, secret)
        for name, sealed in delivery.sealed.items()
    }
    own = _shares(state, seen)[state.site]
    return {name: both for name, both in opened.items() if both is not None} | {state.site: own}


def _seen(state: SiteState) -> View:
    return agreement.view(state.terms, _known(state.participants, "participants"))


def _known(value: _Value | None, what: str) -> _Value:
    if value is None:
        raise RefusedError(f"it is too early: no {what} came yet")
    return value
