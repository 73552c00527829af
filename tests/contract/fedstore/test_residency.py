"""A bucket says itself where it is, whatever the manifest said; moto keeps buckets of every region."""

import pytest

from fedstore.disk import DiskStore
from fedstore.errors import UnfitStoreError
from fedstore.opening import open_store
from fedstore.residency import check_region


@pytest.fixture
def in_ireland(moto, tmp_path):
    """A bucket in eu-west-1, of which the place says eu-central-1."""
    place = {"LocationConstraint": "eu-west-1"}
    moto.client("s3").create_bucket(Bucket="residency", CreateBucketConfiguration=place)
    where = f"s3://residency?region=eu-central-1&endpoint={moto.endpoint}"
    return open_store(where, moto.credentials(tmp_path / "credentials"))


def test_where_the_bucket_says_it_is_counts(in_ireland):
    check_region(in_ireland, ["eu-west-1", "eu-west-3"])
    check_region(in_ireland, ["EU-West-1"])
    check_region(in_ireland, [])
    with pytest.raises(UnfitStoreError, match=r"is in eu-west-1, and storage\.residency allows eu-central-1: copy it"):
        check_region(in_ireland, ["eu-central-1"])


def test_a_volume_is_where_its_node_is(tmp_path):
    check_region(DiskStore(tmp_path), ["eu-central-1"])
