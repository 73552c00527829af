"""Refusals as HTTP has them."""

from fedapi.wire.site import Refusal
from fedapi.wire.statuses import STATUS


def test_every_refusal_has_a_status():
    assert set(STATUS) == set(Refusal.model_fields["code"].annotation.__args__)
