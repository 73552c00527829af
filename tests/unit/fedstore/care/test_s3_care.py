"""A bucket of S3, as Amazon's API tells it: what emulators do not have."""

from fedapi.wire.location import S3
from fedstore.care.s3 import S3Care
from fedstore.care.wanted import Wanted
from fedstore.s3 import S3Bucket

THEIRS = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "theirs/"}, "Expiration": {"Days": 3}}


class Amazon:
    """The lifecycle of one bucket: what a change does not name goes back to the default."""

    def __init__(self):
        self.lifecycle = {"Rules": [THEIRS], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}

    def get_bucket_lifecycle_configuration(self, **_):
        return self.lifecycle

    def put_bucket_lifecycle_configuration(self, **said):
        smallest = said.get("TransitionDefaultMinimumObjectSize", "all_storage_classes_128K")
        self.lifecycle = said["LifecycleConfiguration"] | {"TransitionDefaultMinimumObjectSize": smallest}
        return {}


def test_a_lifecycle_that_others_have_set_stays_as_it_is(monkeypatch):
    amazon = Amazon()
    monkeypatch.setattr(S3Bucket, "client", amazon)
    settings = S3Care(S3("models", "hospital"), None, Wanted())._settings()
    (expire,) = (each for each in settings if each.what == "updates expire")
    expire.set_()
    assert expire.look().state == "kept"
    assert amazon.lifecycle["Rules"][0] == THEIRS
    assert amazon.lifecycle["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
