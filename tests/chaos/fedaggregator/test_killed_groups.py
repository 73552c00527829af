"""kill -9 of the aggregator at the record of each step where sites are summed in groups: the model is that of an undisturbed run."""

import pytest

from fedapi.wire.secagg import Groups
from tests.chaos.fedaggregator.restarted import run_killed
from tests.integration.fedaggregator.harness import Aggregator, JobFolder, config
from tests.integration.fedaggregator.masking import masked, masking_sites
from tests.waiting import PATIENCE_S

CLIENTS = tuple(f"s{number}" for number in range(9))
INTERPRETER = "fedaggregator.engine.interpreter:Interpreter."


def grouped(folder) -> JobFolder:
    said = masked(*CLIENTS)
    secure = said["secure"].model_copy(update={"colluding": 0, "groups": Groups(size=3, minimum=3)})
    return JobFolder(folder, config(CLIENTS, rounds=1, **said | {"secure": secure}))


def told(job: JobFolder) -> tuple:
    commit = job.commits()[-1]
    return commit.attempt, commit.model.sha256, sorted(each.sites for each in commit.groups)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    job = grouped(tmp_path_factory.mktemp("undisturbed"))
    with Aggregator(job).ready():
        for thread in [site.start() for site in masking_sites(job)]:
            thread.join(PATIENCE_S)
    assert len(job.commits()[-1].groups) == 3
    return told(job)


@pytest.mark.parametrize(
    "call",
    [
        ("write_step", "before", "1", "step='Advertise'"),
        ("write_step", "after", "1", "step='Share'"),
        ("write_close", "before", "1"),
        ("write_step", "after", "1", "step='Consent'"),
        ("write_step", "before", "1", "step='Open'"),
    ],
    ids=lambda call: f"{call[1]}-{call[-1]}",
)
def test_it_goes_on_in_the_same_groups(tmp_path, undisturbed, call):
    job = grouped(tmp_path)
    sites = masking_sites(job)
    run_killed(job, sites, (f"{INTERPRETER}{call[0]}", *call[1:]))
    assert told(job) == undisturbed
    assert [site.trained for site in sites] == [[(1, 1)]] * len(sites)
