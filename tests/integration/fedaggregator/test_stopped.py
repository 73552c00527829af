"""An aggregator that is stopped in the middle of transfers: it ends with its exit code, soon, and says nothing of errors."""

import signal
import threading
from contextlib import ExitStack, suppress

import numpy as np
import pytest
from safetensors.numpy import save

from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config
from tests.integration.fedaggregator.raw import Raw, connected
from tests.integration.fedaggregator.test_limits import blob_request, download_request

BIG = {"layer.weight": np.ones((64 << 20) // 4, np.float32)}
CLIENTS = "abcd"


def read(raw: Raw, begun: threading.Event) -> None:
    """As fast as it is told to, which is slow."""
    with suppress(OSError):
        while raw.socket.recv(16 << 10):
            begun.set()
            threading.Event().wait(0.001)


def write(raw: Raw, begun: threading.Event) -> None:
    for _ in range(16 << 10):
        if not raw.send(bytes(4 << 10)):
            return
        begun.set()
        threading.Event().wait(0.001)


@pytest.mark.parametrize("way", ["GET", "PUT"])
def test_a_stop_in_the_middle_of_transfers_is_no_error(tmp_path, way):
    job = JobFolder(tmp_path, config(tuple(CLIENTS), rounds=1, quorum=1, deadline_s=600), model=BIG)
    with Aggregator(job).ready() as aggregator, ExitStack() as stack:
        threads = []
        for client in CLIENTS:
            Site(job, client).next(0.0)
        for client in CLIENTS:
            site, raw, begun = Site(job, client), stack.enter_context(connected(job)), threading.Event()
            if way == "GET":
                request, act = download_request(site), read
            else:
                content = save(BIG)
                url = site.grant(site.next().train, content).url
                request, act = blob_request("PUT", url, f"content-length: {len(content)}"), write
            raw.send(request)
            threads.append(threading.Thread(target=act, args=(raw, begun)))
            threads[-1].start()
            assert begun.wait(30)
        aggregator.process.send_signal(signal.SIGTERM)
        assert aggregator.wait(20) == 0
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
