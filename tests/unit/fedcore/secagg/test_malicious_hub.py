"""What a hub may try to learn a single update, and how each site refuses it."""

import numpy as np
import pytest

from fedapi.wire.secagg import Consent, Participants, UnmaskRequest
from fedcore.secagg import agreement, site
from fedcore.secagg.errors import RefusedError, SpentKeysError
from tests.unit.fedcore.secagg.federation import (
    MASK,
    OPEN,
    SHARE,
    Federation,
    pinned,
    plain_sum,
    seed,
    signing_key,
    terms,
    update,
)

ME = "site-000"


def consents(federation, survivors):
    """Of all sites, as the hub would make them if it had their keys."""
    message = agreement.consent_bytes(federation.terms.context(), survivors)
    return tuple(Consent(site=name, signature=signing_key(name).sign(message)) for name in survivors.survivors)


@pytest.fixture
def asked():
    """A federation that has lost one site after it shared, and the request for its shares."""
    federation = Federation.of(terms(5, 4, colluding=2, minimum_cohort=4), {"site-004": MASK})
    survivors = federation.mask(federation.share(federation.advertise()))
    return federation, survivors, federation.consent(survivors)


def test_a_roster_with_another_key_or_a_stranger():
    swapped = pinned(5) | {"site-003": signing_key("hub").public_key().public_bytes_raw()}
    stranger = pinned(5) | {"sybil": signing_key("hub").public_key().public_bytes_raw()}
    for roster in (swapped, stranger):
        with pytest.raises(RefusedError, match="not pinned here"):
            site.start(ME, terms(roster=roster, threshold=4), pinned(5), bytes(32))


def test_one_key_as_two_sites():
    with pytest.raises(ValueError, match="two sites have one key"):
        terms(roster=pinned(5) | {"sybil": pinned(5)["site-001"]})


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"threshold": 2}, "lets a hub open two sums; at least 3"),
        ({"threshold": 3, "colluding": 1}, "at least 4"),
        ({"threshold": 6}, "more than the 5 sites"),
        ({"threshold": 4, "colluding": 2, "minimum_cohort": 3}, "not from 4"),
        ({"minimum_cohort": 6}, "to 5"),
    ],
)
def test_terms_that_protect_nobody(changed, named):
    with pytest.raises(ValueError, match=named):
        terms(**changed)


def test_other_terms_to_other_sites():
    """Another model, round or roster: signatures of those who were told so do not hold here."""
    federation = Federation.of(terms())
    for changed in ({"base_sha256": "cd" * 32}, {"round": 8}, {"attempt": 2}, {"limit": 5.0}):
        other = Federation.of(terms(**changed)).advertise()
        with pytest.raises(RefusedError, match="not signed by its key for these terms"):
            site.share(federation.sites[ME], other)


def _participants(change):
    found = Federation.of(terms()).advertise()
    return Participants(advertisements=tuple(change(each) for each in found.advertisements))


def test_swapped_keys():
    """The man in the middle: a key of the hub's own in the place of a site's."""
    for key in ("mask_key", "share_key"):
        swapped = _participants(
            lambda said, k=key: said.model_copy(update={k: b"\x05" * 32} if said.site != ME else {})
        )
        with pytest.raises(RefusedError, match="is not signed"):
            site.share(Federation.of(terms()).sites[ME], swapped)


def test_keys_of_small_order():
    def change(said):
        if said.site == ME:
            return said
        weak = said.model_copy(update={"mask_key": bytes(32)})
        signature = signing_key(said.site).sign(agreement.advertisement_bytes(terms().context(), weak))
        return weak.model_copy(update={"signature": signature})

    with pytest.raises(RefusedError, match="cannot be used"):
        site.share(Federation.of(terms()).sites[ME], _participants(change))


def test_one_key_of_two_participants():
    found = Federation.of(terms()).advertise()
    stolen = found.advertisements[1].mask_key

    def change(said):
        if said.site != "site-002":
            return said
        copied = said.model_copy(update={"mask_key": stolen})
        signature = signing_key(said.site).sign(agreement.advertisement_bytes(terms().context(), copied))
        return copied.model_copy(update={"signature": signature})

    with pytest.raises(RefusedError, match="two participants advertise one key"):
        site.share(Federation.of(terms()).sites[ME], _participants(change))


def test_an_old_advertisement_of_the_site_itself():
    federation, old = Federation.of(terms()), Federation.of(terms())
    old.sites[ME] = site.start(ME, terms(), terms().roster, b"\x01" * 32)
    with pytest.raises(RefusedError, match="not what this site advertised"):
        site.share(federation.sites[ME], old.advertise())


def test_too_few_participants():
    found = Federation.of(terms(threshold=4)).advertise()
    with pytest.raises(RefusedError, match="3 participants are below the 4"):
        site.share(Federation.of(terms(threshold=4)).sites[ME], Participants(advertisements=found.advertisements[:3]))


def test_other_participants_afterwards():
    federation = Federation.of(terms())
    found = federation.advertise()
    shared, said = site.share(federation.sites[ME], found)
    assert site.share(shared, found) == (shared, said)
    with pytest.raises(RefusedError, match="other participants were named before"):
        site.share(shared, Participants(advertisements=found.advertisements[:4]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda given: {"sharers": given.sharers[:2], "sealed": {"site-001": given.sealed["site-001"]}}, "below the 3"),
        (lambda given: {"sharers": (*given.sharers, "stranger")}, "did not advertise"),
        (lambda given: {"sharers": given.sharers[1:]}, "not among the sharers"),
        (lambda given: {"sealed": {}}, "not those of all neighbours"),
    ],
)
def test_other_deliveries(change, why):
    federation = Federation.of(terms())
    given = federation.share(federation.advertise())[ME]
    with pytest.raises(RefusedError, match=why):
        site.mask(federation.sites[ME], given.model_copy(update=change(given)), update(ME, 1000))


def test_keys_mask_one_byte_string():
    """A restarted site sends the same bytes again; with another update, or for other sharers, it sends none."""
    federation = Federation.of(terms())
    given = federation.share(federation.advertise())[ME]
    before, first = federation.sites[ME], update(ME, 1000)
    after = site.mask(before, given, first)
    again = update(ME, 1000)
    assert site.mask(after, given, again) == after
    assert np.array_equal(again, first)
    other = update("other", 1000)
    with pytest.raises(SpentKeysError):
        site.mask(after, given, other)
    assert not other.any()
    fewer = given.model_copy(update={"sharers": given.sharers[:-1], "sealed": dict(list(given.sealed.items())[:-1])})
    with pytest.raises(RefusedError, match="other shares were delivered before"):
        site.mask(after, fewer, update(ME, 1000))


def test_a_retried_attempt_has_other_keys_even_with_the_same_seed():
    first, second = (site.start(ME, terms(attempt=n), terms().roster, bytes(32)) for n in (1, 2))
    one, two = (site.advertise(each, signing_key(ME).sign) for each in (first, second))
    assert {one.mask_key, one.share_key}.isdisjoint({two.mask_key, two.share_key})
    assert one.seed_commitment != two.seed_commitment


def test_shares_of_another_attempt_are_not_opened():
    """The hub replays what was sealed to a site before: it opens nothing, and the hub has that share not."""
    replayed = Federation.of(terms(attempt=2))
    old = replayed.share(replayed.advertise())[ME]
    federation = Federation.of(terms())
    given = federation.share(federation.advertise())
    given[ME] = given[ME].model_copy(update={"sealed": old.sealed})
    opened = federation.open(federation.consent(federation.mask(given)))
    assert list(opened[0].seeds) == [ME]
    assert np.array_equal(federation.total(), plain_sum(terms().roster, 1000))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda found: {"participants_sha256": "ef" * 32}, "of other participants"),
        (lambda found: {"survivors": dict(list(found.survivors.items())[:3])}, "3 survivors are below the 4"),
        (lambda found: {"sharers": found.sharers[:4]}, "other sharers than those"),
        (lambda found: {"sharers": found.sharers[:3]}, "that did not share"),
        (lambda found: {"survivors": found.survivors | {ME: "ef" * 32}}, "not what this site sent"),
        (lambda found: {"survivors": {n: s for n, s in found.survivors.items() if n != ME}}, "below the 4"),
    ],
)
def test_other_survivors(asked, change, why):
    federation, survivors, _ = asked
    fresh = federation.sites[ME].model_copy(update={"survivors": None})
    with pytest.raises(RefusedError, match=why):
        site.consent(fresh, survivors.model_copy(update=change(survivors)), signing_key(ME).sign)


def test_the_survivor_set_that_shrinks_or_grows_after_consent(asked):
    federation, survivors, _ = asked
    grown = survivors.model_copy(update={"survivors": survivors.survivors | {"site-004": "ab" * 32}})
    state, said = site.consent(federation.sites[ME], survivors, signing_key(ME).sign)
    assert (state, said) == site.consent(state, survivors, signing_key(ME).sign)
    with pytest.raises(RefusedError, match="another survivor set was signed before"):
        site.consent(state, grown, signing_key(ME).sign)


def test_both_kinds_of_share(asked):
    federation, _, request = asked
    everybody = tuple(federation.terms.roster)
    for change in (
        {"mask_keys_of": everybody},
        {"seeds_of": everybody},
        {"seeds_of": everybody, "mask_keys_of": everybody},
        {"seeds_of": request.mask_keys_of, "mask_keys_of": request.seeds_of},
        {"seeds_of": ()},
    ):
        with pytest.raises(RefusedError, match="other shares than those"):
            site.open_(federation.sites[ME], request.model_copy(update=change))


def test_of_each_site_one_kind_is_opened(asked):
    federation, _, request = asked
    for name in request.seeds_of:
        opened = site.open_(federation.sites[name], request)
        assert set(opened.seeds) == set(request.seeds_of)
        assert set(opened.mask_keys) == set(request.mask_keys_of) == {"site-004"}


def test_the_same_request_is_answered_the_same(asked):
    federation, survivors, request = asked
    first = site.open_(federation.sites[ME], request)
    fewer = request.model_copy(update={"consents": consents(federation, survivors)})
    assert site.open_(federation.sites[ME], request) == first == site.open_(federation.sites[ME], fewer)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda made: made[:3], "3 consents are below the 4"),
        (lambda made: (*made[:3], made[0]), "each once"),
        (lambda made: (*made[:3], made[3].model_copy(update={"signature": made[0].signature})), "did not sign"),
        (lambda made: (*made[:3], made[3].model_copy(update={"site": "site-004"})), "not of survivors"),
    ],
)
def test_a_request_without_enough_consents(asked, change, why):
    federation, _, request = asked
    short = request.model_copy(update={"consents": change(request.consents)})
    with pytest.raises(RefusedError, match=why):
        site.open_(federation.sites[ME], short)


def test_two_halves_that_are_shown_other_survivors():
    """Some are told that site-000 is lost, some that site-001 is: neither set has consents enough, whatever colluding sites sign."""
    federation = Federation.of(terms(5, 4, colluding=2, minimum_cohort=4))
    survivors = federation.mask(federation.share(federation.advertise()))
    halves = {}
    for lost in ("site-000", "site-001"):
        part = {name: sent for name, sent in survivors.survivors.items() if name != lost}
        halves[lost] = survivors.model_copy(update={"survivors": part})
    colluding, told = ("site-003", "site-004"), {"site-000": "site-001", "site-001": "site-000", "site-002": "site-000"}
    for name, lost in told.items():
        state, _ = site.consent(federation.sites[name], halves[lost], signing_key(name).sign)
        signers = [*colluding, *(each for each, shown in told.items() if shown == lost)]
        made = tuple(each for each in consents(federation, halves[lost]) if each.site in signers)
        seeds_of = tuple(sorted(halves[lost].survivors))
        request = UnmaskRequest(seeds_of=seeds_of, mask_keys_of=(lost,), consents=made)
        if lost == "site-001":
            with pytest.raises(RefusedError, match="3 consents are below the 4"):
                site.open_(state, request)
        else:
            assert len(made) == 4, "the set that all but its lost one agree on"


@pytest.mark.parametrize("step", ["share", "mask", "consent", "open"])
def test_steps_out_of_turn(asked, step):
    federation, survivors, request = asked
    fresh = Federation.of(federation.terms).sites[ME]
    given = federation.share(federation.hub.participants)[ME] if step == "mask" else None
    calls = {
        "share": lambda: site.share(fresh, Participants(advertisements=())),
        "mask": lambda: site.mask(fresh, given, update(ME, 1000)),
        "consent": lambda: site.consent(fresh, survivors, signing_key(ME).sign),
        "open": lambda: site.open_(fresh, request),
    }
    with pytest.raises(RefusedError):
        calls[step]()


def test_no_secret_is_shown(asked):
    federation, *_ = asked
    state = federation.sites[ME]
    shown = repr(state)
    assert "seed" not in shown.replace("seed_commitment", "")
    assert seed(ME, federation.terms).hex() not in shown


def test_a_lost_part_of_a_ring():
    """The hub loses a run of neighbours, each of whom it is free to lose: such a set is refused, although it is large enough."""
    said = terms(60, 40, colluding=5, minimum_cohort=10)
    seen = agreement.view(said, Federation.of(said).advertise())
    (ring,) = seen.rings
    assert 0 < ring.reach - ring.crowded <= 60 - said.threshold
    lost = set(ring.ring[10 : 10 + ring.reach - ring.crowded])
    with pytest.raises(RefusedError, match="too few to hide in"):
        agreement.check_present(seen, set(ring.ring) - lost, "survivors")
    spread = set(ring.ring[::3])
    assert len(spread) == 60 - said.threshold
    agreement.check_present(seen, set(ring.ring) - spread, "survivors")


@pytest.mark.parametrize("lost", [SHARE, OPEN])
def test_a_site_that_is_late_is_no_reason_for_another_answer(lost):
    federation = Federation.of(terms(), {"site-004": lost})
    federation.run()
    request = federation.hub.request
    assert site.open_(federation.sites[ME], request) == site.open_(federation.sites[ME], request)
