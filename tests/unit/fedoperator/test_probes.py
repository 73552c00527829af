"""The server of probes."""

import http.client
import socket

import pytest

from fedoperator.probes import serve, verdict
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("host", ["127.0.0.1", *(["::1"] if socket.has_dualstack_ipv6() else [])])
def test_probes_are_answered_on_every_family_that_the_machine_has(host):
    port = serve(0, {"/healthz": lambda: verdict("")})
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    connection.request("GET", "/healthz?x")
    assert connection.getresponse().read() == b"ok"
    connection.close()
