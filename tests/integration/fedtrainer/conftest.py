"""Jobs for the trainer's programs, and the tasks that these import."""

import pytest

from tests.integration.fedtrainer.programs import HERE, end_all
from tests.integration.protocol.application import Hub


@pytest.fixture
def hub(made):
    """A job as a module's jobs are."""
    return made()


@pytest.fixture
def job_values():
    """What all of a module's jobs have in common, where that is more than one round."""
    return {}


@pytest.fixture
def made(tmp_path, job_values):
    """Makes jobs, with values of their own."""
    hubs = []

    def make(**values):
        hubs.append(Hub(tmp_path / f"hub{len(hubs)}", **job_values | values))
        return hubs[-1]

    yield make
    for each in hubs:
        each.close()


@pytest.fixture(autouse=True)
def tasks_on_path(monkeypatch):
    """Ends what a test has started, too."""
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()
