"""`fedloom storage init`, `check` and `age` at the emulators of Google and Azure.

What they have is set and works; what they do not tell is told as unknown.
"""

import json

import pytest

from fedapi.wire import location
from fedstore import copying
from fedstore.care.opening import care_of, marks_of
from fedstore.care.wanted import Wanted
from fedstore.opening import open_store
from tests.contract.fedstore.test_bucket_care import states, storage
from tests.unit.fedstore import test_history as rounds

UNTOLD = "the store does not tell"
HIDDEN = "not visible with these credentials: az storage account"


def test_google_s_emulator_keeps_versions_and_does_not_tell_the_rest(fake_gcs, tmp_path):
    place, folder = location.parsed(fake_gcs.place(prefix="hospital")), fake_gcs.credentials(tmp_path / "c")
    care = care_of(place, folder, Wanted(("serviceAccount:hub@clinic",), cold_class="COLDLINE"))
    before = {each.what: each for each in care.check()}
    for each in ("no public access", "no access lists", "soft delete"):
        assert (before[each].state, before[each].told) == ("unknown", UNTOLD)
    assert before["versions are kept"].state == "missing"
    assert {each.state for what, each in before.items() if what.startswith("policy: ")} == {"cannot"}
    done = {each.what: each for each in care.init()}
    assert (done["versions are kept"].state, done["versions are kept"].remark) == ("kept", "was set")
    assert done["updates expire"].remark.startswith("the store took it, and"), "it forgets them, and is not believed"


def test_azurite_has_soft_delete_and_what_is_the_account_s_is_not_visible(azurite, tmp_path):
    place, folder = location.parsed(azurite.place(prefix="hospital")), azurite.credentials(tmp_path / "c")
    care = care_of(place, folder, Wanted(cold_class="Cool"))
    before = {each.what: each for each in care.check(by_writing=False)}
    assert not list(open_store(place.text(), folder).keys("")), "nothing was written"
    for each in ("no public access in the account", "TLS alone", "updates expire", "deleted versions go"):
        assert before[each].state == "unknown"
        assert before[each].told.startswith(HIDDEN), "and the command that looks"
    assert before["versions are kept"].state == "unknown"
    assert before["no access by the account's keys"].state == "missing", "this one was taken"
    assert states(care.check())["versions are kept"] == "missing", "a blob that it wrote got no version"
    assert states(care.init())["soft delete"] == "kept"
    assert states(care.check(by_writing=False))["soft delete"] == "kept"


@pytest.mark.parametrize("cloud", ["fake_gcs", "azurite"])
def test_the_commands_tell_what_there_is_and_what_is_done_by_hand(cloud, request, tmp_path):
    server = request.getfixturevalue(cloud)
    where = (server.place(), "--credentials", str(server.credentials(tmp_path / "c")))
    found = storage("check", *where)
    assert found.returncode == 1, found.stderr
    assert "versions are kept" in found.stdout
    done = storage("init", *where, "--json")
    told = json.loads(done.stdout)
    by_hand = told.get("byHand", "")
    assert ("az storage account management-policy create" in by_hand) is (cloud == "azurite")
    # Not those of `init`: this emulator of Google forgets by one change what another has set.
    left = json.loads(storage("check", *where, "--json").stdout)["findings"]
    allowed = [word for each in left if each["state"] != "kept" for word in ("--may-lack", each["what"])]
    again = storage("check", *where, *allowed)
    assert again.returncode == 0, again.stdout + again.stderr


def _custom_times(place, folder):
    from fedstore.gcs import GcsBucket

    bucket = GcsBucket(place, folder)._bucket()
    return {
        blob.name
        for blob in bucket.client.list_blobs(bucket)
        if blob.custom_time is not None and blob.custom_time.year < 9999
    }


def _cool(place, folder):
    from fedstore.azure import AzureBucket

    return {blob.name for blob in AzureBucket(place, folder).container.list_blobs() if blob.blob_tier == "Cool"}


@pytest.mark.parametrize(("cloud", "sent"), [("fake_gcs", _custom_times), ("azurite", _cool)])
def test_superseded_models_are_sent_away_and_one_that_is_needed_comes_back(cloud, sent, request, tmp_path):
    server = request.getfixturevalue(cloud)
    uid = "0b5c1f9e-0000-4000-8000-000000000001"
    hub = rounds.Hub(rounds.job(rounds.SITES, rounds=6).model_copy(update={"uid": uid}))
    rounds.run(hub)
    layout = hub.state.layout
    where, folder = server.place(prefix="hospital"), server.credentials(tmp_path / "c")
    place, store = location.parsed(where), open_store(where, folder)
    list(copying.copied(hub.store, store, layout))
    first = next(iter(store.keys(f"{layout.models()}/")))
    assert marks_of(place, folder, Wanted(cold_after_days=0, cold_class="Cool")).mark(first, cold=True)
    young = ("--cold-after-days", "90000") if cloud == "azurite" else ()  # there it is `age` that looks at it
    if young:
        assert storage("age", where, "--credentials", str(folder), *young).returncode == 0
        assert sent(place, folder) == set(), "what is needed came back, and nothing is old enough"
    old = ("--cold-after-days", "1") if cloud == "azurite" else ()
    done = storage("age", where, "--credentials", str(folder), *old)
    assert done.returncode == 0, done.stderr
    numbers = {int(name.rpartition("/")[2][:6]) for name in sent(place, folder)}
    assert numbers == (set() if cloud == "azurite" else {1, 2, 3, 4}), "in Azure none is a day old yet"
    again = storage("age", where, "--credentials", str(folder), *old)
    assert again.stdout.splitlines()[1].split()[-1] == "0", "twice changes nothing"
