"""Which URLs lead to one server, and which to none."""

import pytest

from fedapi.https_server import HttpsServer

HUB = HttpsServer("hub", 443)


@pytest.mark.parametrize(
    ("url", "is_hub"),
    [
        ("https://hub", True),
        ("https://hub:443/v1/blobs/x?signature=y", True),
        ("HTTPS://HUB/", True),
        ("https://hub:8443/", False),
        ("https://hub:0/", False),
        ("https://hub.evil/", False),
        ("https://hub@evil/", False),
        ("https://evil/https://hub", False),
        ("https://evil#@hub", False),
        ("https://evil?@hub", False),
    ],
)
def test_a_server_is_host_and_port(url, is_hub):
    assert (HttpsServer.of(url) == HUB) is is_hub


def test_addresses_of_ip_6():
    assert HttpsServer.of("https://[FD00::1]:8443/") == HttpsServer("fd00::1", 8443)
    assert HttpsServer.of("https://[fd00::1]") == HttpsServer("fd00::1", 443)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://user:word@Hub:443/x", "hub"),
        ("https://hub:8443", "hub:8443"),
        ("https://[fd00::1]:8443", "[fd00::1]:8443"),
        ("https://[fd00::1]", "[fd00::1]"),
    ],
)
def test_what_a_request_calls_it(url, authority):
    assert HttpsServer.of(url).authority == authority
    assert HttpsServer.of(f"https://{authority}/") == HttpsServer.of(url)


@pytest.mark.parametrize(
    "url", ["", "hub", "http://hub", "//hub", "https:", "https:///x", "https://:443", "https://hub:x", "https://[hub"]
)
def test_what_leads_to_no_server(url):
    with pytest.raises(ValueError, match=r"."):
        HttpsServer.of(url)
