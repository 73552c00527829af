"""What proves that a request is a site's."""

import pytest

from fedaggregator.adapters.tokens import Tokens
from fedaggregator.ports import Shown
from fedapi.wire.tokens import site_token


@pytest.mark.parametrize(
    ("header", "proves"),
    [
        (f"Bearer {site_token(b'k' * 32, 'a')}", True),
        (f"bearer {site_token(b'k' * 32, 'a')}", True),
        (f"Bearer {site_token(b'k' * 32, 'b')}", False),
        (f"Bearer {site_token(b'j' * 32, 'a')}", False),
        (f"Basic {site_token(b'k' * 32, 'a')}", False),
        ("Bearer é", False),
        ("", False),
    ],
)
def test_site_tokens(header, proves):
    shown = Shown("POST", "/v1/sites/a/next", {"authorization": header})
    assert (Tokens(b"k" * 32).doubt("a", shown) == "") is proves
