"""JobSet's own CustomResourceDefinition, out of its Go module: for tests that put it on an API server."""

from collections.abc import Iterator

import pytest

from tests.cluster import tools
from tests.integration.fedoperator.kit import Api, until

MODULE = "sigs.k8s.io/jobset@v0.10.1"
SUM = "h1:u8QKifNsrWVrlRFe6w2ofYTqFT9ma2DRHxfeB2m9xyU="  # of the module's content, as in a go.sum
NAME = "jobsets.jobset.x-k8s.io"


def definition() -> str:
    """The YAML."""
    return (tools.module(MODULE, SUM) / "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml").read_text()


@pytest.fixture
def jobset(api: Api) -> Iterator[None]:
    """The cluster has the resource, but not its controller: tests play that."""
    api.cluster.kubectl("apply", "--server-side", "-f", "-", stdin=definition())
    until(lambda: api.listed("JobSet", "default") is not None)
    yield
    api.cluster.kubectl("delete", "crd", NAME)
    until(lambda: api.listed("JobSet", "default") is None)
