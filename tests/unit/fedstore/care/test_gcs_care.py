"""A bucket of Google, as its API tells it: what emulators do not have."""

import copy
from types import SimpleNamespace

import pytest

from fedapi.wire.location import Gcs
from fedstore.care.gcs import GcsCare
from fedstore.care.wanted import Wanted
from fedstore.errors import StoreDeniedError, StoreFailedError, UnfitStoreError
from fedstore.gcs import GcsBucket

KEY = "projects/clinic/locations/europe-west3/keyRings/fedloom/cryptoKeys/models"
PLACE = Gcs("fedloom-models", "hospital", "https://storage.example", KEY)
HUB, ADMIN = "serviceAccount:fedloom@clinic.iam.gserviceaccount.com", "group:platform@clinic.example"
NEW = {  # as `buckets.get` answers of a bucket that was just made
    "kind": "storage#bucket",
    "name": "fedloom-models",
    "metageneration": "1",
    "location": "EUROPE-WEST3",
    "locationType": "region",
    "iamConfiguration": {
        "bucketPolicyOnly": {"enabled": False},
        "uniformBucketLevelAccess": {"enabled": False},
        "publicAccessPrevention": "inherited",
    },
    "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": "2026-11-01T00:00:00.000Z"},
}
LEGACY = {"role": "roles/storage.legacyBucketOwner", "members": ["projectEditor:clinic", "projectOwner:clinic"]}
THEIRS = {"action": {"type": "Delete"}, "condition": {"age": 3, "matchesPrefix": ["theirs/"]}}


class Google:
    """One bucket behind the JSON API: a patch is merged, a policy has an ETag."""

    def __init__(self, resource, refuse=None):
        self.resource = copy.deepcopy(resource)
        self.policy = {"version": 1, "etag": "CAE=", "bindings": [LEGACY]}
        self.refuse = refuse or {}
        self.patches, self.meanwhile = 0, {}  # what somebody else sets just before a patch of the same field

    def request(self, method, url, *, json, params, timeout):
        path = url.removeprefix("https://storage.example/storage/v1/b/fedloom-models")
        if code := self.refuse.get((method, path)):
            return answer(code, {"error": {"code": code, "message": "in Google's words"}})
        match method, path:
            case "GET", "":
                return answer(200, self.resource)
            case "PATCH", "":
                self.patches += 1
                if theirs := self.meanwhile.pop(next(iter(json)), None):
                    self._set(theirs)
                if (params or {}).get("ifMetagenerationMatch", self.resource["metageneration"]) != self.resource[
                    "metageneration"
                ]:
                    return answer(412, {"error": {"code": 412, "message": "in Google's words"}})
                self._set(json)
                return answer(200, self.resource)
            case "GET", "/iam":
                assert params == {"optionsRequestedPolicyVersion": 3}, "conditions are not told otherwise"
                return answer(200, self.policy)
            case "PUT", "/iam":
                assert json["etag"] == self.policy["etag"]
                assert json["version"] == 3
                self.policy = json
                return answer(200, json)
        raise AssertionError((method, url))

    def _set(self, change):
        merge(self.resource, change)
        self.resource["metageneration"] = str(int(self.resource["metageneration"]) + 1)


def answer(code, body):
    return SimpleNamespace(status_code=code, text="{}", json=lambda: copy.deepcopy(body), reason="")


def merge(into, change):
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            merge(into[name], value)
        else:
            into[name] = value


@pytest.fixture
def care(monkeypatch, tmp_path):
    def made(google, wanted=None):
        monkeypatch.setattr(GcsBucket, "session", property(lambda _: google))
        return GcsCare(PLACE, tmp_path, wanted or Wanted((HUB,), (ADMIN,), cold_class="COLDLINE"))

    return made


def states(findings):
    return {each.what: each.state for each in findings}


def test_a_new_bucket_lacks_nearly_all_and_init_sets_it(care):
    google = Google(NEW | {"lifecycle": {"rule": [THEIRS]}})
    lacking = {what for what, state in states(care(google).check()).items() if state == "missing"}
    assert lacking == {
        "no public access", "no access lists", "encrypted by default", "no other encryption", "versions are kept",
        "soft delete", "policy: aggregators and backups read and write",
        "policy: aggregators and backups list, and see the settings", "policy: nobody else comes in",
        "updates expire", "deleted versions go", "superseded models become cold",
    }  # fmt: skip
    done = states(care(google).init())
    assert {what: state for what, state in done.items() if state != "kept"} == {
        "policy: nobody else comes in": "missing", "access is logged": "unknown"
    }  # fmt: skip
    assert states(care(google).check()) == done
    rules = google.resource["lifecycle"]["rule"]
    assert THEIRS in rules, "what others have set stays"
    assert {"action": {"type": "SetStorageClass", "storageClass": "COLDLINE"}, "condition": {"daysSinceCustomTime": 90, "matchesPrefix": ["hospital/models/"]}} in rules  # fmt: skip
    assert LEGACY in google.policy["bindings"]
    (conditional,) = [each for each in google.policy["bindings"] if "condition" in each]
    assert conditional["members"] == [HUB]
    assert "objects/hospital/" in conditional["condition"]["expression"]
    patches = google.patches
    list(care(google).init())
    assert google.patches == patches, "twice changes nothing"
    longer = care(google, Wanted((HUB,), (ADMIN,), updates_days=60, cold_class="COLDLINE"))
    assert states(longer.init())["updates expire"] == "kept"
    assert len(google.resource["lifecycle"]["rule"]) == len(rules), "a rule of ours takes the place of its former self"


def test_what_somebody_else_sets_meanwhile_stays(care):
    google = Google(NEW)
    google.meanwhile = {"lifecycle": {"lifecycle": {"rule": [THEIRS]}}}
    done = {each.what: each for each in care(google).init()}
    assert (done["updates expire"].state, done["updates expire"].remark) == (
        "missing", "the store refuses it: 412: in Google's words"
    )  # fmt: skip
    assert done["deleted versions go"].state == "kept", "what comes after it is looked at anew"
    assert states(care(google).init())["updates expire"] == "kept"
    assert google.resource["lifecycle"]["rule"][0] == THEIRS


def test_the_aggregator_takes_any_days_and_asks_for_no_policy(care):
    google = Google(NEW)
    list(care(google, Wanted(updates_days=77, noncurrent_days=14, cold_class="ARCHIVE")).init())
    google.refuse[("GET", "/iam")] = 403
    found = states(care(google, Wanted.by_whoever_set_it("", ("europe-west3",))).check(by_writing=False))
    assert {what for what, state in found.items() if state != "kept"} == {"access is logged"}


def test_a_right_that_is_missing_makes_it_unknown(care):
    found = list(care(Google(NEW, {("GET", ""): 403, ("GET", "/iam"): 403})).check())
    assert {each.state for each in found} == {"unknown"}
    assert all("in Google's words; the credentials may not ask" in each.told for each in found)
    refused = care(Google(NEW, {("PATCH", ""): 412})).init()
    told = {each.what: each for each in refused}["versions are kept"]
    assert (told.state, told.told) == ("missing", "the store refuses it: 412: in Google's words")


@pytest.mark.parametrize(("code", "error"), [(401, StoreDeniedError), (404, UnfitStoreError), (503, StoreFailedError)])
def test_a_bucket_that_is_not_there_or_does_not_answer_is_no_finding(care, code, error):
    with pytest.raises(error):
        list(care(Google(NEW, {("GET", ""): code})).check())


@pytest.mark.parametrize(
    "change", [{"retentionPolicy": {"retentionPeriod": "86400", "isLocked": True}}, {"defaultEventBasedHold": True}]
)
def test_what_keeps_head_from_being_replaced_is_told(care, change):
    found = {each.what: each for each in care(Google(NEW | change)).check()}["HEAD can be replaced"]
    assert found.state == "missing"
    assert "HEAD could not be replaced" in found.remark


def test_where_copies_are_is_told(care):
    two = {"location": "EUR4", "locationType": "dual-region", "rpo": "ASYNC_TURBO"}
    found = {each.what: each for each in care(Google(NEW | two), Wanted(regions=("eu",))).check()}
    assert found["replicated"].remark == "over the dual-region eur4, by ASYNC_TURBO replication"
    assert found["in an allowed region"].remark == "it is in eur4: make a bucket in one of eu"
