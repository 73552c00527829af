"""Refusals as HTTP has them."""

from fedaggregator.http.refusals import STATUS
from fedapi.wire.site import Refusal


def test_every_refusal_has_a_status():
    assert set(STATUS) == set(Refusal.model_fields["code"].annotation.__args__)
