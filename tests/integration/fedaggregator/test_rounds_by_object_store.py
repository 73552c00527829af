"""Rounds whose tensors pass by an object store alone: a real S3 server, the real aggregator, scripted sites."""

import pytest

from tests.integration.fedaggregator.buckets import job_in
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config, run_sites

SERVERS = ("seaweedfs", "minio")


@pytest.fixture(params=SERVERS)
def server(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("kem", [None, "MLKEM768X25519"])
def test_rounds_are_those_of_a_volume(tmp_path, server, kem):
    models = []
    for job in (JobFolder(tmp_path / "volume", config()), job_in(server, tmp_path / "bucket", encryption=kem)):
        with Aggregator(job).ready() as aggregator:
            run_sites(job)
            log = aggregator.log()
        models.append([commit.model.sha256 for commit in job.commits()])
        assert job.status()["outcome"]["result"] == "Succeeded"
        assert "Signature" not in log
    assert models[0] == models[1]
    assert len(models[0]) == 4
