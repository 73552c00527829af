"""What a finished local run says of how to get its model."""

from pathlib import Path

import pytest

from fedcli.commands import how_to_pull


@pytest.mark.parametrize(
    ("spec", "gate"), [({}, ""), ({"release": {"required": 1}}, ", once it is approved: fedloom model approve")]
)
def test_a_model_that_has_to_be_approved_is_not_offered_at_once(spec, gate):
    job = {"metadata": {"name": "hearts"}, "spec": spec}
    assert how_to_pull(job, Path("runs")) == f"fedloom model pull hearts --workdir runs{gate}"
