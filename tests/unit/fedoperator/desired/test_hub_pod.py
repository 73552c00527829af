"""What pods of backups share: exit codes that running again cannot cure, and the buckets whose identity they have."""

from fedapi.outcome import Exit
from fedoperator.desired import hub_pod
from tests.unit.fedoperator import samples as s


def test_what_cannot_be_restored_is_not_tried_again_and_a_copy_that_was_cut_short_is():
    assert {Exit.NOT_RESTORABLE, Exit.STORE_UNFIT, Exit.BAD_SETTINGS} <= set(hub_pod.FATAL)
    assert not {Exit.NOT_BACKED_UP, Exit.STORE_FAILED, Exit.STORE_DENIED} & set(hub_pod.FATAL)


def test_the_buckets_are_the_stores_the_destinations_and_the_sources():
    job = s.job(
        storage={"gcs": {"bucket": "one"}},
        backup={"everyRounds": 1, "destination": {"s3": {"bucket": "two"}}},
        restoreFrom={"source": {"azure": {"account": "abc", "container": "three"}}, "backup": "a/b"},
    )
    assert [type(bucket).__name__ for bucket in hub_pod.buckets(job)] == ["Gcs", "S3", "Azure"]
    assert hub_pod.buckets(s.job()) == (None, None, None)
