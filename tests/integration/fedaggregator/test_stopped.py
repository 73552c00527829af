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
from tests.waiting import PATIENCE_S

BIG = {"layer.weight": np.ones((64 << 20) // 4, np.float32)}
CLIENTS = "abcd"
PAUSE_S = 0.05  # so that a transfer takes longer than anybody waits for it


def read(raw: Raw, begun: threading.Event, over: threading.Event) -> None:
    """Slowly, until it is over."""
    with suppress(OSError):
        while raw.socket.recv(16 << 10):
            begun.set()
            over.wait(PAUSE_S)


def write(raw: Raw, begun: threading.Event, over: threading.Event) -> None:
    for _ in range(16 << 10):
        if not raw.send(bytes(4 << 10)):
            return
        begun.set()
        over.wait(PAUSE_S)


@pytest.mark.parametrize("way", ["GET", "PUT"])
def test_a_stop_in_the_middle_of_transfers_is_no_error(tmp_path, way):
    job = JobFolder(tmp_path, config(tuple(CLIENTS), rounds=1, quorum=1, deadline_s=600), model=BIG)
    with Aggregator(job).ready() as aggregator, ExitStack() as stack:
        threads, over = [], threading.Event()
        stack.callback(over.set)
        for client in CLIENTS:
            Site(job, client).next(0.0)
        for client in CLIENTS:
            site, begun = Site(job, client), threading.Event()
            if way == "GET":
                request, act = download_request(site), read
            else:
                content = save(BIG)
                url = site.grant(site.next().train, content).url
                request, act = blob_request("PUT", url, f"content-length: {len(content)}"), write
            raw = stack.enter_context(connected(job))
            raw.send(request)
            threads.append(threading.Thread(target=act, args=(raw, begun, over)))
            threads[-1].start()
            assert begun.wait(PATIENCE_S)
        aggregator.process.send_signal(signal.SIGTERM)
        assert aggregator.wait() == 0
        over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
