"""The hub's side of secure aggregation: a state machine, values in, values out. Pure; called by the aggregator's engine.

Each phase collects what sites say (advertised, shared, masked, consented, opened) and is closed by the function that makes the
next message to them (participants, deliveries, survivors, request), or the masks of the sum. The caller makes the new state
durable before it sends or acknowledges. What a site says twice is no error; what it says differently, or late, is refused; a
phase that closes with too few fails the attempt (AttemptFailedError). Masked updates are not in here: the caller adds them up.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from fedapi.wire.message import Message, Record, Sha256
from fedapi.wire.secagg import (
    Advertisement,
    Consent,
    Delivery,
    Names,
    Opening,
    Participants,
    Shares,
    SiteName,
    SurvivorSet,
    Terms,
    UnmaskRequest,
)
from fedcore.secagg import agreement, keys, rebuilding
from fedcore.secagg.agreement import View
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.masking import Mask

_Value = TypeVar("_Value")
_State = TypeVar("_State", bound="HubState")  # or that of an encrypted sum, which is one with more in it


class HubState(Record):
    """All that was said in an attempt. No secret of a site is in it before the openings are."""

    terms: Terms
    advertisements: dict[SiteName, Advertisement] = {}
    participants: Participants | None = None
    shares: dict[SiteName, Shares] = {}
    sharers: Names | None = None
    masked_sha256: dict[SiteName, Sha256] = {}
    survivors: SurvivorSet | None = None
    consents: dict[SiteName, Consent] = {}
    request: UnmaskRequest | None = None
    openings: dict[SiteName, Opening] = {}


def advertised(state: HubState, said: Advertisement) -> HubState:
    """Takes an advertisement."""
    agreement.check_advertisement(state.terms, state.terms.context(), said)
    others = {key for each in state.advertisements.values() if each.site != said.site for key in _public(each)}
    if others & set(_public(said)):
        raise RefusedError(f"site {said.site!r} advertises a key of another site")
    return _with(state, "advertisements", said.site, said, closed=state.participants is not None)


def participants(state: HubState, whole_samples: int | None = None) -> tuple[HubState, Participants]:
    """Closes advertising: what every participant is told. `whole_samples`: of an update that counts whole."""
    if state.participants is None:
        _enough(state.terms, state.advertisements, "advertisements")
        said = tuple(state.advertisements[name] for name in sorted(state.advertisements))
        state = state.model_copy(
            update={"participants": Participants(advertisements=said, whole_samples=whole_samples)}
        )
    return state, _reached(state.participants)


def shared(state: HubState, said: Shares) -> HubState:
    """Takes a site's encrypted shares."""
    seen = _seen(state)
    if said.site not in seen.said or said.participants_sha256 != seen.fingerprint:
        raise RefusedError(f"site {said.site!r} shares as a participant of another attempt")
    if set(said.sealed) != set(seen.ring(said.site).neighbours(said.site)):
        raise RefusedError(f"site {said.site!r} did not share with its neighbours, all and no others")
    return _with(state, "shares", said.site, said, closed=state.sharers is not None)


def deliveries(state: HubState) -> tuple[HubState, dict[str, Delivery]]:
    """Closes sharing: what each sharer is told."""
    seen = _seen(state)
    if state.sharers is None:
        left = agreement.remaining(seen, state.shares)
        _present(seen, left, "sharers")
        state = state.model_copy(update={"sharers": tuple(sorted(left))})
    sharers = _reached(state.sharers)
    return state, {
        name: Delivery(
            sharers=sharers,
            sealed={
                each: state.shares[each].sealed[name]
                for each in seen.ring(name).neighbours(name)
                if each in state.shares
            },
        )
        for name in sharers
    }


def masked(state: _State, site: str, sha256: str) -> _State:
    """Takes note that a site's masked update is there, whole and durable."""
    if site not in _reached(state.sharers):
        raise RefusedError(f"site {site!r} did not share")
    return _with(state, "masked_sha256", site, sha256, closed=state.survivors is not None)


def survivors(state: HubState) -> tuple[HubState, SurvivorSet]:
    """Closes masking: whose updates are summed."""
    if state.survivors is None:
        seen = _seen(state)
        left = agreement.remaining(seen, state.masked_sha256)
        _present(seen, left, "masked updates")
        found = SurvivorSet(
            participants_sha256=seen.fingerprint,
            sharers=_reached(state.sharers),
            survivors={name: sha256 for name, sha256 in sorted(state.masked_sha256.items()) if name in left},
        )
        state = state.model_copy(update={"survivors": found})
    return state, _reached(state.survivors)


def consented(state: HubState, said: Consent) -> HubState:
    """Takes a site's signature over the survivor set."""
    found = _reached(state.survivors)
    message = agreement.consent_bytes(state.terms.context(), found)
    if said.site not in found.survivors or not keys.signed(state.terms.roster[said.site], said.signature, message):
        raise RefusedError(f"site {said.site!r} did not sign this survivor set")
    return _with(state, "consents", said.site, said, closed=state.request is not None)


def request(state: HubState) -> tuple[HubState, UnmaskRequest]:
    """Closes the consistency round: what every survivor is asked for."""
    if state.request is None:
        seen, found = _seen(state), _reached(state.survivors)
        try:
            seeds_of, mask_keys_of = agreement.asked(seen, found, state.consents)
        except RefusedError as error:
            raise AttemptFailedError(str(error)) from error
        asked = UnmaskRequest(
            seeds_of=seeds_of,
            mask_keys_of=mask_keys_of,
            consents=tuple(state.consents[name] for name in sorted(state.consents)),
        )
        state = state.model_copy(update={"request": asked})
    return state, _reached(state.request)


def opened(state: HubState, said: Opening) -> HubState:
    """Takes the shares that a survivor holds."""
    asked, seen = _reached(state.request), _seen(state)
    if said.site not in asked.seeds_of:
        raise RefusedError(f"site {said.site!r} is no survivor")
    rebuilding.check(seen.ring(said.site), asked, said)
    return _with(state, "openings", said.site, said, closed=False)


def summed(state: HubState) -> dict[int, tuple[str, ...]]:
    """Whose updates are in one sum, by the number of the group: of each that opened. Without groups all are in one."""
    asked, seen = _reached(state.request), _seen(state)
    opened = agreement.agreed(seen, state.openings)
    names = [set(asked.seeds_of) & set(each.ring) for each in opened]
    _enough(state.terms, {name: None for each in names for name in each & set(state.openings)}, "openings")
    if state.terms.groups is not None and len(names) < state.terms.groups.minimum:
        raise AttemptFailedError(f"{len(names)} groups have opened, the terms ask for {state.terms.groups.minimum}")
    return {seen.rings.index(ring): tuple(sorted(each)) for ring, each in zip(opened, names, strict=True)}


def masks(state: HubState, sites: Iterable[str] | None = None) -> list[Mask]:
    """What is left of masks in the sum of the survivors' updates, the other way round: applied, they leave the sum itself.

    `sites`: of which sum, as `summed` says; None: there is one.
    """
    asked, seen = _reached(state.request), _seen(state)
    _enough(state.terms, state.openings, "openings")
    stayed = tuple(asked.seeds_of if sites is None else sites)
    there = {name for site in stayed for name in seen.ring(site).ring}
    seeds = rebuilding.seeds(seen, stayed, state.openings)
    lost = rebuilding.mask_keys(seen, (name for name in asked.mask_keys_of if name in there), state.openings)
    own = [seen.bond.self_mask(seed).inverse() for seed in seeds.values()]
    return own + [mask for gone, secret in lost.items() for mask in _unmatched(seen, gone, secret, stayed)]


def _unmatched(seen: View, gone: str, secret: bytes, stayed: Iterable[str]) -> list[Mask]:
    """The masks that survivors made with a site whose own update is not there, the other way round."""
    left = sorted(set(seen.ring(gone).neighbours(gone)) & set(stayed))
    return [seen.bond.mirrored(name, seen.said[name].mask_key, gone, secret).inverse() for name in left]


def _seen(state: HubState) -> View:
    return agreement.view(state.terms, _reached(state.participants))


def _public(said: Advertisement) -> tuple[bytes, bytes]:
    return said.mask_key, said.share_key


def _with(state: _State, phase: str, site: str, said: Message | str, *, closed: bool) -> _State:
    before: Mapping[str, Message | str] = getattr(state, phase)
    if site in before:
        if before[site] != said:
            raise RefusedError(f"site {site!r} said something else before")
        return state
    if closed:
        raise RefusedError(f"site {site!r} is too late: the phase is over")
    return state.model_copy(update={phase: {**before, site: said}})


def _reached(value: _Value | None) -> _Value:
    if value is None:
        raise RefusedError("it is too early: the phase before is not over")
    return value


def _enough(terms: Terms, found: Mapping[str, object], what: str) -> None:
    _or_fails(lambda: agreement.enough(terms, len(found), what))


def _present(seen: View, found: Iterable[str], what: str) -> None:
    _or_fails(lambda: agreement.check_present(seen, found, what))


def _or_fails(check: Callable[[], None]) -> None:
    try:
        check()
    except RefusedError as error:
        raise AttemptFailedError(str(error)) from error
