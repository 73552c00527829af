"""What all parties check alike before they go on: advertisements, participants, who shared, who survived. Pure.

Each check raises RefusedError with the reason, and reads nothing but the terms and what was said. Sites trust none of the hub's
checks and make them all themselves; the hub makes them so that one bad site does not spoil the attempt of all.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fedapi.wire.secagg import Advertisement, Consent, Participants, SurvivorSet, Terms
from fedcore.secagg import graph, grouping, keys
from fedcore.secagg.errors import RefusedError
from fedcore.secagg.graph import Graph


@dataclass(frozen=True)
class View:
    """An attempt once its participants are known: the same for all who have the same terms and participants."""

    terms: Terms
    fingerprint: str  # of the participants, hex
    bond: keys.Attempt
    rings: tuple[Graph, ...]  # of each group; one of all sites where there are no groups
    said: Mapping[str, Advertisement]

    def ring(self, site: str) -> Graph:
        """The one with a site."""
        return next(each for each in self.rings if site in each.ring)


def view(terms: Terms, participants: Participants) -> View:
    """What follows from these two."""
    found = participants.fingerprint()
    bond = keys.Attempt(terms.context(), found)
    said = {each.site: each for each in participants.advertisements}
    seed = keys.bound("ring", bond.context, bond.participants)
    return View(terms, found.hex(), bond, _rings(terms, seed, tuple(said)), said)


def _rings(terms: Terms, seed: bytes, sites: tuple[str, ...]) -> tuple[Graph, ...]:
    if terms.groups is None:
        return (graph.graph(seed, sites, terms.threshold, terms.colluding),)
    groups = grouping.dealt(sites, terms.groups.size, seed)
    return tuple(
        graph.graph(seed, group.sites, grouping.least(terms, len(group.sites)), terms.colluding) for group in groups
    )


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
    if terms.groups is not None and len(said) < terms.groups.size * terms.groups.minimum:
        raise RefusedError(
            f"{len(said)} participants are not {terms.groups.minimum} groups of {terms.groups.size} or more"
        )
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
    if seen.terms.groups is not None:
        _check_groups(seen, names, what)
    elif not seen.rings[0].windows_hold(names):
        raise RefusedError(f"the {len(names)} {what} leave a part of the ring with too few to hide in")


def _check_groups(seen: View, names: Collection[str], what: str) -> None:
    groups = standing(seen, names)
    if strays := set(names).difference(*groups):
        raise RefusedError(f"{what} whose group has too few to hide in: {sorted(strays)[:5]}")
    if seen.terms.groups is not None and len(groups) < seen.terms.groups.minimum:
        raise RefusedError(f"{what} are left in {len(groups)} groups, the terms ask for {seen.terms.groups.minimum}")


def standing(seen: View, present: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Of each group that has enough of those present, these. Without groups: all, whose number is checked elsewhere."""
    names = set(present)
    if seen.terms.groups is None:
        return (tuple(sorted(names)),)
    return tuple(tuple(sorted(names.intersection(each.ring))) for each in seen.rings if each.holds(names))


def remaining(seen: View, present: Iterable[str]) -> frozenset[str]:
    """Those present whose group has not fallen."""
    return frozenset(name for group in standing(seen, present) for name in group)


def agreed(seen: View, signers: Iterable[str]) -> tuple[Graph, ...]:
    """The groups in which enough have signed, or opened; without groups the only one, whose number is checked elsewhere."""
    names = set(signers)
    return tuple(
        each for each in seen.rings if seen.terms.groups is None or len(names.intersection(each.ring)) >= each.least
    )


def asked(seen: View, survivors: SurvivorSet, signers: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Whose self-mask's seed and whose mask key are to be opened where these have signed: of the groups that agreed.

    RefusedError where these are too few.
    """
    groups = agreed(seen, signers)
    inside = {name for each in groups for name in each.ring}
    enough(seen.terms, len(inside.intersection(signers)), "consents")
    if seen.terms.groups is not None and len(groups) < seen.terms.groups.minimum:
        raise RefusedError(f"{len(groups)} groups consent, the terms ask for {seen.terms.groups.minimum}")
    gone = set(survivors.sharers) - set(survivors.survivors)
    whole = {name for each in groups if set(each.ring) & set(survivors.survivors) for name in each.ring}
    return tuple(sorted(inside & set(survivors.survivors))), tuple(sorted(gone & whole))


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
