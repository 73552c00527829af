"""What all parties check alike before they go on: advertisements, participants, who shared, who survived. Pure.

Each check raises RefusedError with the reason, and reads nothing but the terms and what was said. Sites trust none of the hub's
checks and make them all themselves; the hub makes them so that one bad site does not spoil the attempt of all.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedapi.wire.secagg import Advertisement, Consent, Participants, SurvivorSet, Terms
from fedcore.secagg import graph, keys
from fedcore.secagg.errors import RefusedError
from fedcore.secagg.graph import Graph


@dataclass(frozen=True)
class View:
    """An attempt once its participants are known: the same for all who have the same terms and participants."""

    terms: Terms
    fingerprint: str  # of the participants, hex
    bond: keys.Attempt
    ring: Graph
    said: Mapping[str, Advertisement]


def view(terms: Terms, participants: Participants) -> View:
    """What follows from these two."""
    found = participants.fingerprint()
    bond = keys.Attempt(terms.context(), found)
    said = {each.site: each for each in participants.advertisements}
    seed = keys.bound("ring", bond.context, bond.participants)
    return View(terms, found.hex(), bond, graph.graph(seed, tuple(said), terms.threshold, terms.colluding), said)


def advertisement_bytes(context: bytes, said: Advertisement) -> bytes:
    """What a site signs of its advertisement, for terms with this context."""
    parts = (said.site.encode(), said.mask_key, said.share_key, bytes.fromhex(said.seed_commitment))
    return keys.bound("advertisement", context, *parts)


def check_advertisement(terms: Terms, context: bytes, said: Advertisement) -> None:
    """It is a site's of the roster, signed by its key for these terms, and its keys can be used."""
    if said.site not in terms.roster:
        raise RefusedError(f"site {said.site!r} is not in the roster")
    if not keys.signed(terms.roster[said.site], said.signature, advertisement_bytes(context, said)):
        raise RefusedError(f"the advertisement of site {said.site!r} is not signed by its key for these terms")
    if said.mask_key == said.share_key or not (keys.usable(said.mask_key) and keys.usable(said.share_key)):
        raise RefusedError(f"site {said.site!r} advertises keys that cannot be used")


def check_participants(terms: Terms, participants: Participants) -> None:
    """All advertisements hold, no key is there twice, and they are enough."""
    said, context = participants.advertisements, terms.context()
    enough(terms, len(said), "participants")
    for each in said:
        check_advertisement(terms, context, each)
    if len({key for each in said for key in (each.mask_key, each.share_key)}) < 2 * len(said):
        raise RefusedError("two participants advertise one key")


def enough(terms: Terms, count: int, what: str) -> None:
    """Neither threshold nor minimum cohort is missed."""
    least = max(terms.threshold, terms.minimum_cohort)
    if count < least:
        raise RefusedError(f"{count} {what} are below the {least} that the terms ask for")


def check_present(seen: View, present: Iterable[str], what: str) -> None:
    """These participants are enough, and are so in every part of the ring."""
    names = set(present)
    if strangers := names - set(seen.said):
        raise RefusedError(f"{what} that did not advertise: {sorted(strangers)[:5]}")
    enough(seen.terms, len(names), what)
    if not seen.ring.windows_hold(names):
        raise RefusedError(f"the {len(names)} {what} leave a part of the ring with too few to hide in")


def check_survivors(seen: View, found: SurvivorSet) -> None:
    """The survivors are sharers, the sharers are participants, and both are enough."""
    if found.participants_sha256 != seen.fingerprint:
        raise RefusedError("the survivor set is of other participants")
    if not set(found.survivors) <= set(found.sharers):
        raise RefusedError("the survivor set names sites that did not share")
    check_present(seen, found.sharers, "sharers")
    check_present(seen, found.survivors, "survivors")


def consent_bytes(context: bytes, survivors: SurvivorSet) -> bytes:
    """What a site signs of the survivor set, for terms with this context."""
    return keys.bound("survivors", context, survivors.canonical())


def check_consents(seen: View, survivors: SurvivorSet, consents: Iterable[Consent]) -> None:
    """Enough survivors have signed the set, each once."""
    each = tuple(consents)
    signers = {one.site: one.signature for one in each}
    if len(signers) < len(each) or not set(signers) <= set(survivors.survivors):
        raise RefusedError("the consents are not of survivors, each once")
    enough(seen.terms, len(signers), "consents")
    message = consent_bytes(seen.bond.context, survivors)
    for name, signature in signers.items():
        if not keys.signed(seen.terms.roster[name], signature, message):
            raise RefusedError(f"site {name!r} did not sign the survivor set that this site signed")
