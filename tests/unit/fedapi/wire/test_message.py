"""Canonical bytes."""

import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fedapi.wire.message import DamagedRecordError, ObjectRef
from fedapi.wire.metrics import MAX_METRIC
from fedapi.wire.site import EvaluationReport


def test_canonical_bytes_do_not_depend_on_field_order():
    one = ObjectRef(key="k", sha256="0" * 64, size=1)
    two = ObjectRef.model_validate_json('{"size": 1, "sha256": "' + "0" * 64 + '", "key": "k"}')
    assert one.canonical() == two.canonical()
    assert one.digest() == hashlib.sha256(one.canonical()).hexdigest()


@given(st.floats(-MAX_METRIC, MAX_METRIC))
@example(2.0**53)
@example(-1e18)  # a loss that diverged: written without a point, and no integer
@example(1e21)
def test_a_record_reads_as_it_was_written_whatever_its_numbers(value):
    report = EvaluationReport(
        job_uid="u", round=0, client="a", model_sha256="a" * 64, samples=1, metrics={"loss": value}
    )
    assert EvaluationReport.stored(report.sealed().canonical()).metrics == {"loss": value}


@pytest.mark.parametrize("digits", ["9007199254740993", "9" * 400, "9" * 5000])
def test_digits_that_nobody_writes_are_damage(digits):
    report = EvaluationReport(job_uid="u", round=0, client="a", model_sha256="a" * 64, samples=1, metrics={"loss": 2.0})
    with pytest.raises(DamagedRecordError):
        EvaluationReport.stored(report.sealed().canonical().replace(b":2}", f":{digits}}}".encode()))
