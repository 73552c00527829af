"""The aggregator answers on every address of its pod, whatever the family."""

import socket
import ssl

import httpx
import pytest

from fedapi import names
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.waiting import PATIENCE_S, until

BOTH = [404, 200]


def has(address):
    try:
        with socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET):
            return True
    except OSError:
        return False


def answer(job, address):
    """Of both ports: what the sites' port has no route for, and whether it is ready."""
    context = ssl.create_default_context(cafile=str(job.root / "credentials" / names.FILE_CA))
    context.check_hostname = False  # the certificate is made out to names
    host = f"[{address}]" if ":" in address else address
    urls = f"https://{host}:{job.port}/nowhere", f"http://{host}:{job.monitoring_port}/readyz"
    try:
        return [httpx.get(url, verify=context, trust_env=False, timeout=PATIENCE_S).status_code for url in urls]
    except httpx.TransportError:
        return None


@pytest.mark.parametrize(
    ("host", "answering", "silent"),
    [("::", ["::1", "127.0.0.1"], []), ("::1", ["::1"], ["127.0.0.1"]), ("127.0.0.1", ["127.0.0.1"], ["::1"])],
)
def test_which_addresses_answer(tmp_path, host, answering, silent):
    if not has("::1"):
        pytest.skip("this machine has no IPv6")
    job = JobFolder(tmp_path, config(), extra_env={names.ENV_HOST: host})
    with Aggregator(job) as aggregator:
        until(lambda: answer(job, answering[0]) == BOTH or aggregator.process.poll() is not None, why=aggregator.log)
        assert [answer(job, address) for address in answering] == [BOTH] * len(answering)
        assert [answer(job, address) for address in silent] == [None] * len(silent)
