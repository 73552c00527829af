"""A job of honest sites, alone and beside hostile clients: what it ends with. Used here and by tests/long."""

import threading
from pathlib import Path

from fedapi.wire.seeds import derived
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, run_sites
from tests.integration.fedaggregator.hostile_requests import Hostile

SITES = ("a", "b")


def final_model(folder: Path, rounds: int, hostile: int, threads: int = 2) -> str:
    """Digest of the job's last model; so many hostile requests were answered meanwhile and after."""
    job = JobFolder(folder, config(SITES, rounds=rounds, deadline_s=600))
    with Aggregator(job).ready():
        for name in SITES:
            Site(job, name).next(0.0)
        url = Site(job, "a").next().train.model.url
        clients = [Hostile(job, SITES, derived(7, "hostile", number), url) for number in range(threads)]
        errors: list[BaseException] = []
        running = [threading.Thread(target=_guarded, args=(c, hostile // threads, errors)) for c in clients]
        for thread in running:
            thread.start()
        try:
            run_sites(job, timeout_s=600)
        finally:
            for thread in running:
                thread.join()
        assert not errors, errors[0]
        assert sum(sum(client.answers.values()) for client in clients) == hostile // threads * threads
    return job.commits()[-1].model.sha256


def _guarded(client: Hostile, count: int, errors: list[BaseException]) -> None:
    try:
        client.send(count)
    except BaseException as error:  # noqa: BLE001 - shown by the test
        errors.append(error)
