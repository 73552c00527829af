"""One undisturbed run that the tests here look at and compare theirs with."""

import pytest

from tests.integration.fedlocal.runs import SITES, Lab, job


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """A job that was run to its end once."""
    lab = Lab.of(tmp_path_factory.mktemp("done"), job(), *SITES)
    code, output = lab.run()
    assert code == 0, output
    return lab, output
