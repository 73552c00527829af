"""What a site may do to spoil the sum of the others, and what the hub makes of it."""

import numpy as np
import pytest

from fedapi.wire.secagg import SEALED_BYTES, Opening
from fedcore.secagg import hub, shamir, site
from fedcore.secagg.errors import AttemptFailedError, RefusedError
from fedcore.secagg.hub import HubState
from tests.unit.fedcore.secagg.federation import MASK, Federation, plain_sum, seed, signing_key, terms

BAD = "site-001"


def test_an_advertisement_of_another_site():
    federation = Federation.of(terms())
    said = site.advertise(federation.sites[BAD], signing_key(BAD).sign)
    for changed in ({"site": "site-002"}, {"site": "stranger"}, {"signature": bytes(64)}):
        with pytest.raises(RefusedError):
            hub.advertised(federation.hub, said.model_copy(update=changed))


def test_two_advertisements():
    federation = Federation.of(terms())
    state = hub.advertised(federation.hub, said := site.advertise(federation.sites[BAD], signing_key(BAD).sign))
    assert hub.advertised(state, said) == state
    other = site.start(BAD, terms(), terms().roster, seed("other", terms()))
    with pytest.raises(RefusedError, match="said something else before"):
        hub.advertised(state, site.advertise(other, signing_key(BAD).sign))


def test_shares_for_some_neighbours_only():
    federation = Federation.of(terms())
    _, said = site.share(federation.sites[BAD], federation.advertise())
    fewer = said.model_copy(update={"sealed": dict(list(said.sealed.items())[1:])})
    with pytest.raises(RefusedError, match="all and no others"):
        hub.shared(federation.hub, fewer)
    with pytest.raises(RefusedError, match="of another attempt"):
        hub.shared(federation.hub, said.model_copy(update={"participants_sha256": "ab" * 32}))


@pytest.mark.parametrize("lost", [{}, {"site-004": MASK}])
def test_shares_that_nobody_can_open(lost):
    """Its own share, and nobody else's: the sum cannot be had without its seed, and the attempt fails by its name."""
    federation = Federation.of(terms(), lost)
    given = federation.share(federation.advertise())
    junk = {
        name: each.model_copy(
            update={"sealed": each.sealed | ({BAD: bytes(SEALED_BYTES)} if BAD in each.sealed else {})}
        )
        for name, each in given.items()
    }
    federation.open(federation.consent(federation.mask(junk)))
    with pytest.raises(AttemptFailedError, match=f"1 shares of site '{BAD}'"):
        federation.total()


def _opened(lost=None):
    federation = Federation.of(terms(), lost)
    asked = federation.consent(federation.mask(federation.share(federation.advertise())))
    return federation, site.open_(federation.sites[BAD], asked), asked


@pytest.mark.parametrize("lost", [{}, {"site-004": MASK}])
def test_wrong_shares_of_one_holder_are_passed_over(lost):
    federation, said, asked = _opened(lost)
    lie = said.model_copy(
        update={
            "seeds": dict.fromkeys(said.seeds, (7).to_bytes(33)),
            "mask_keys": dict.fromkeys(said.mask_keys, (7).to_bytes(33)),
        }
    )
    federation.hub = hub.opened(federation.hub, lie)
    federation.sites.pop(BAD)
    federation.open(asked)
    summed = [name for name in terms().roster if name not in lost]
    assert np.array_equal(federation.total(), plain_sum(summed, 1000))


def test_wrong_shares_of_too_many_fail_the_attempt():
    federation, said, _ = _opened()
    for name in terms().roster:
        lie = Opening(site=name, seeds=dict.fromkeys(said.seeds, (7).to_bytes(33)), mask_keys={})
        federation.hub = hub.opened(federation.hub, lie)
    with pytest.raises(AttemptFailedError, match="do not give the secret that it advertised"):
        federation.total()


def test_openings_that_were_not_asked_for():
    federation, said, _ = _opened({"site-004": MASK})
    share = said.seeds[BAD]
    for changed, why in (
        ({"seeds": said.seeds | {"site-004": share}}, "not asked for"),
        ({"mask_keys": said.mask_keys | {"site-002": share}}, "not asked for"),
        ({"site": "site-004"}, "is no survivor"),
        ({"seeds": {BAD: shamir.PRIME.to_bytes(33)}}, "no shares"),
    ):
        with pytest.raises(RefusedError, match=why):
            hub.opened(federation.hub, said.model_copy(update=changed))


def test_consent_of_a_site_that_is_lost_or_to_another_set():
    federation = Federation.of(terms(), {"site-004": MASK})
    survivors = federation.mask(federation.share(federation.advertise()))
    _, said = site.consent(federation.sites[BAD], survivors, signing_key(BAD).sign)
    for changed in ({"site": "site-004"}, {"site": "site-002"}, {"signature": bytes(64)}):
        with pytest.raises(RefusedError, match="did not sign this survivor set"):
            hub.consented(federation.hub, said.model_copy(update=changed))


def test_who_is_late_is_refused_and_who_repeats_is_not():
    federation = Federation.of(terms(), {"site-004": MASK})
    federation.run()
    after = federation.hub
    assert hub.masked(after, BAD, after.masked_sha256[BAD]) == after
    with pytest.raises(RefusedError, match="too late"):
        hub.masked(after, "site-004", "ab" * 32)
    with pytest.raises(RefusedError, match="something else before"):
        hub.masked(after, BAD, "ab" * 32)
    with pytest.raises(RefusedError, match="did not share"):
        hub.masked(after, "stranger", "ab" * 32)


def test_phases_are_closed_once():
    federation = Federation.of(terms(), {"site-004": MASK})
    federation.run()
    state = federation.hub
    for close in (hub.participants, hub.deliveries, hub.survivors, hub.request):
        assert close(state)[0] == state
    assert hub.deliveries(state)[1] == hub.deliveries(state)[1]


def test_a_phase_before_its_turn():
    for step in (hub.deliveries, hub.survivors, hub.request, hub.masks):
        with pytest.raises(RefusedError, match="too early"):
            step(HubState(terms=terms()))
    with pytest.raises(AttemptFailedError, match="0 advertisements are below the 3"):
        hub.participants(HubState(terms=terms()))
