"""Servers that live as long as a test session: started when the first test wants one. Loaded by tests/conftest.py.

Tests share them, so each takes a bucket, container or queue of its own. Who kills a server or fills it starts its own.
"""

import sys

import pytest

from tests.servers import azurite, fakegcs, minio, moto, rabbitmq, weed

# With awscrt, which is here as a yardstick of speed alone, botocore signs by other code than it does in the hub's image.
sys.modules.setdefault("awscrt", None)


def _of_a_session(name, serving):
    @pytest.fixture(scope="session", name=name)
    def server(tmp_path_factory):
        with serving(tmp_path_factory.mktemp(name) / "server") as started:
            yield started

    return server


seaweedfs_server = _of_a_session("seaweedfs", weed.serving)
minio_server = _of_a_session("minio", minio.serving)
moto_server = _of_a_session("moto", moto.serving)
gcs_server = _of_a_session("fake_gcs", fakegcs.serving)
azurite_server = _of_a_session("azurite", azurite.serving)
rabbitmq_server = _of_a_session("rabbitmq", rabbitmq.serving)
