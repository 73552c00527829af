"""Whether a bucket is where a job's objects may be: what the bucket itself says, beside what the manifest said.

Called by the aggregator and the backup before they write anything.
"""

from collections.abc import Collection

from fedstore.bucketstore import BucketStore
from fedstore.errors import UnfitStoreError
from fedstore.objectstore import ObjectStore


def check_region(store: ObjectStore, allowed: Collection[str]) -> None:
    """UnfitStoreError when a bucket says that it is somewhere else. Where the cloud does not say, the manifest's word counts.

    A volume is on a node, which was chosen by its region. Asks the store: it may fail as the store does.
    """
    if not allowed or not isinstance(store, BucketStore):
        return
    region = store.region().lower()
    if region and region not in {each.lower() for each in allowed}:
        way_out = "copy it to a bucket in one of them, or allow this region"
        raise UnfitStoreError(
            f"the bucket is in {region}, and storage.residency allows {', '.join(allowed)}: {way_out}"
        )
