"""Sums of groups: exact for each that stays, alone lost where one falls, and nothing for a hub that makes groups of its own."""

import numpy as np
import pytest
from pydantic import ValidationError

from fedapi.wire.secagg import Groups, SurvivorSet
from fedcore.secagg import agreement, hub, masking, site
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from tests.unit.fedcore.secagg.federation import (
    ADVERTISE,
    CONSENT,
    MASK,
    OPEN,
    SHARE,
    Federation,
    plain_sum,
    signing_key,
    terms,
)

SITES, SIZE, MINIMUM = 12, 3, 3


def grouped(**changed):
    return terms(SITES, 7, groups=Groups(size=SIZE, minimum=MINIMUM), **changed)


def groups_of(said):
    """Who is with whom: known once all have advertised, and the same whenever the same keys are."""
    seen = agreement.view(said, Federation.of(said).advertise())
    return [tuple(sorted(ring.ring)) for ring in seen.rings]


def totals(federation):
    found = {}
    for sites in hub.summed(federation.hub).values():
        total = np.zeros(federation.terms.items, np.uint32)
        for name in sites:
            masking.add(total, federation.sent[name])
        masking.apply(total, hub.masks(federation.hub, sites))
        found[sites] = total
    return found


def assert_exact(federation, groups):
    found = totals(federation)
    assert set(found) == set(groups)
    for sites, total in found.items():
        assert np.array_equal(total, plain_sum(sites, federation.terms.items))


def test_each_group_has_its_own_sum():
    said = grouped()
    federation = Federation.of(said)
    federation.run()
    assert len(groups_of(said)) == 4
    assert_exact(federation, groups_of(said))


@pytest.mark.parametrize("step", [SHARE, MASK, CONSENT, OPEN])
def test_one_lost_site_of_each_group_costs_no_group(step):
    said = grouped()
    groups = groups_of(said)
    federation = Federation.of(said, {sites[0]: step for sites in groups})
    federation.durable = True
    federation.run()
    there = [sites[1:] if step in (SHARE, MASK) else sites for sites in groups]
    assert_exact(federation, there)


def without(federation, fallen, step):
    """All steps of an attempt in which a group loses two of its three sites; what opens it is said by whom the hub asks."""
    given = federation.share(federation.advertise())
    federation.lost = {**federation.lost, **({fallen[2]: MASK} if step == SHARE else {})}
    assert (fallen[2] in given) == (step > SHARE)
    survivors = federation.mask(given)
    assert (fallen[2] in survivors.survivors) == (step > MASK)
    federation.lost = {**federation.lost, **({fallen[2]: CONSENT} if step <= MASK else {})}
    asked = federation.consent(survivors)
    assert bool(set(fallen) & {*asked.seeds_of, *asked.mask_keys_of}) == (step > CONSENT), (
        "else nothing of it is opened"
    )
    federation.lost = {**federation.lost, **({fallen[2]: OPEN} if step <= CONSENT else {})}
    federation.open(asked)


@pytest.mark.parametrize("step", [SHARE, MASK, CONSENT, OPEN])
def test_a_group_that_loses_too_many_falls_alone(step):
    said = grouped()
    fallen, *others = groups_of(said)
    federation = Federation.of(said, dict.fromkeys(fallen[:2], step))
    without(federation, fallen, step)
    assert_exact(federation, others)


@pytest.mark.parametrize("step", [SHARE, MASK, CONSENT, OPEN])
def test_fewer_groups_than_the_terms_ask_for_open_nothing(step):
    said = terms(SITES, 7, groups=Groups(size=SIZE, minimum=4))
    fallen, *_ = groups_of(said)
    federation = Federation.of(said, dict.fromkeys(fallen[:2], step))

    def opened():
        without(federation, fallen, step)
        return hub.summed(federation.hub)

    with pytest.raises(AttemptFailedError, match="3 groups"):
        opened()


def test_participants_that_are_too_few_groups_are_none():
    said = terms(SITES, 7, groups=Groups(size=4, minimum=3))
    federation = Federation.of(said, {"site-003": ADVERTISE})
    found = federation.advertise()
    with pytest.raises(RefusedError, match="11 participants are not 3 groups of 4"):
        site.share(federation.sites["site-000"], found)


@pytest.mark.parametrize("groups", [(2, 3), (5, 3), (4, 4)])
def test_groups_that_hide_nobody_or_cannot_be_are_no_terms(groups):
    size, minimum = groups
    with pytest.raises(ValidationError, match="groups: "):
        terms(SITES, 8, colluding=1, minimum_cohort=3, groups=Groups(size=size, minimum=minimum))


def test_a_hub_that_leaves_one_honest_site_in_a_group_is_refused():
    """Whole enough as a set, and only one of the victim's group in it."""
    said = grouped()
    mine = groups_of(said)[0]
    federation = Federation.of(said)
    federation.mask(federation.share(federation.advertise()))
    state, everybody = federation.sites[mine[0]], federation.hub.survivors
    alone = SurvivorSet(
        participants_sha256=everybody.participants_sha256,
        sharers=everybody.sharers,
        survivors={name: sha256 for name, sha256 in everybody.survivors.items() if name not in mine[1:]},
    )
    with pytest.raises(RefusedError, match="whose group has too few to hide in"):
        site.consent(state, alone, signing_key(mine[0]).sign)


def test_a_hub_that_groups_anew_after_it_has_seen_updates_is_refused():
    """Groups follow from what all have advertised: others would take other participants, and those were named before."""
    said = grouped()
    federation = Federation.of(said)
    found = federation.advertise()
    federation.mask(federation.share(found))
    fewer = found.model_copy(update={"advertisements": found.advertisements[:-1]})
    with pytest.raises(RefusedError, match="other participants were named before"):
        site.share(federation.sites["site-000"], fewer)
    others = terms(SITES, 7)
    with pytest.raises(RefusedError, match="not signed by its key for these terms"):
        agreement.check_participants(others, found)


def test_a_hub_that_delivers_the_shares_of_another_group_is_refused():
    said = grouped()
    mine, theirs, *_ = groups_of(said)
    federation = Federation.of(said)
    given = federation.share(federation.advertise())
    vector = np.zeros(said.items, np.uint32)
    with pytest.raises(RefusedError, match="not those of all neighbours"):
        site.mask(federation.sites[mine[0]], given[theirs[0]], vector)


def test_a_site_opens_nothing_by_the_consents_of_other_groups():
    said = grouped()
    mine, *others = groups_of(said)
    federation = Federation.of(said)
    asked = federation.consent(federation.mask(federation.share(federation.advertise())))
    without = {name for sites in others for name in sites} | {mine[0]}
    few = asked.model_copy(update={"consents": tuple(each for each in asked.consents if each.site in without)})
    state = federation.sites[mine[0]]
    with pytest.raises(RefusedError, match="other shares than those"):
        site.open_(state, few)
    theirs = {name for sites in others for name in sites}
    few = few.model_copy(update={"seeds_of": tuple(sorted(theirs)), "mask_keys_of": ()})
    with pytest.raises(RefusedError, match="too few of the group of this site"):
        site.open_(state, few)


def test_a_site_that_is_in_a_sum_opens_the_same_whichever_other_groups_agree():
    said = grouped()
    mine, other, *_ = groups_of(said)
    federation = Federation.of(said)
    asked = federation.consent(federation.mask(federation.share(federation.advertise())))
    kept = tuple(each for each in asked.consents if each.site not in other)
    fewer = asked.model_copy(
        update={"consents": kept, "seeds_of": tuple(each for each in asked.seeds_of if each not in other)}
    )
    state = federation.sites[mine[0]]
    assert site.open_(state, asked) == site.open_(state, fewer)
