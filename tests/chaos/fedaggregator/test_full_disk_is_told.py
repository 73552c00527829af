"""While the store's volume is full, the status says so; nobody has to read a log."""

import numpy as np

from tests.chaos.fedaggregator.test_full_disk import LIMITED, fill, free
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, Site, config, until
from tests.waiting import PATIENCE_S

MODEL = {"weight": np.zeros((64, 256), np.float32)}  # 64 KiB: it no longer fits where records still do


def test_a_full_store_is_told_while_it_lasts_and_no_longer(tmp_path):
    job = JobFolder(tmp_path, config(("a", "b"), rounds=2), model=MODEL)
    job.extra_env = {"FULL_WHILE": str(tmp_path / "full"), "FULL_BYTES": "32768", "FEDLOOM_STORE_RETRY_S": "60"}
    with Aggregator(job, LIMITED).ready():
        a, b = Site(job, "a"), Site(job, "b")
        a.next(0.0)
        b.next(0.0)
        order = a.next().train
        data = a.download(order.model)
        grant = a.grant(order, data)
        fill(job)
        assert a.http.put(grant.url, content=data).status_code == 503
        until(lambda: "trouble" in job.status())
        assert "the store cannot be written" in job.status()["trouble"]
        free(job)
        a.http.put(grant.url, content=data).raise_for_status()
        a.post("updates", a.manifest(order, grant)).raise_for_status()
        until(lambda: "trouble" not in job.status())
        b.take_part(b.next().train)
        threads = [a.start(), b.start()]
        for thread in threads:
            thread.join(PATIENCE_S)
    assert job.head().finished == "Succeeded"
    assert "trouble" not in job.status()
