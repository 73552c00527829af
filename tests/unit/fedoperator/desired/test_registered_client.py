"""The FLClient of a registered site: by the first entry of the policy that is about it, with nothing of the site's own but its words."""

import pytest

from fedapi.crd.flclient import FLClient
from fedapi.wire.registry import Site
from fedoperator.desired.registered_client import Allowed, registered_client

PAUSED = {"provider": "OnPremises", "paused": True}
HOSPITALS = Allowed(("hospitals/*",), labels={"consortium": "heart"}, spec=PAUSED)


def site(client_id="hospitals/berlin", organization=None, **labels):
    return Site(client_id=client_id, last_seen=1.0, status="Active", organization=organization, labels=labels)


@pytest.mark.parametrize(
    ("entry", "seen", "taken"),
    [
        (HOSPITALS, site(), True),
        (HOSPITALS, site("labs/berlin"), False),
        (HOSPITALS, site("hospitals-2/berlin"), False),
        (Allowed(("*/ward-?",)), site("a/ward-1"), True),
        (Allowed(("*/ward-?",)), site("a/ward-10"), False),
        (Allowed(("*",), organizations=("Charité",)), site(organization="Charité"), True),
        (Allowed(("*",), organizations=("Charité",)), site(organization="charité"), False),
        (Allowed(("*",), organizations=("Charité",)), site(), False),
        (Allowed(("*",), match_labels={"country": "de"}), site(country="de", more="x"), True),
        (Allowed(("*",), match_labels={"country": "de"}), site(country="fr"), False),
        (Allowed(("*",), match_labels={"country": "de"}), site(), False),
    ],
)
def test_what_an_entry_is_about(entry, seen, taken):
    assert (registered_client(seen, [entry]) is not None) is taken


def test_the_first_entry_that_fits_decides_and_none_makes_none():
    other = Allowed(("*",), spec={"provider": "AWS"})
    assert registered_client(site(), [HOSPITALS, other])["spec"]["provider"] == "OnPremises"
    assert registered_client(site("labs/a"), [HOSPITALS, other])["spec"]["provider"] == "AWS"
    assert registered_client(site(), []) is None


def test_a_site_cannot_give_itself_labels_or_a_spec():
    made = registered_client(site(organization="Charité", consortium="lungs", admin="yes"), [HOSPITALS])
    assert made["metadata"]["labels"] == {"consortium": "heart"}
    assert made["spec"] == {"organization": "Charité", **PAUSED}
    FLClient.parse(made)
    owned = Allowed(("*",), spec={**PAUSED, "organization": "the consortium"})
    assert registered_client(site(organization="Charité"), [owned])["spec"]["organization"] == "the consortium"
