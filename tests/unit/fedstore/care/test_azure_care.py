"""A container of Azure, as its SDK tells it: what azurite does not have. And what is left to the administrator of the account."""

import json
from types import SimpleNamespace

import pytest
from azure.core.exceptions import HttpResponseError

from fedapi.wire.location import Azure
from fedstore.azure import AzureBucket
from fedstore.care import azurepolicy
from fedstore.care.azure import AzureCare
from fedstore.care.wanted import Wanted
from fedstore.errors import StoreDeniedError, UnfitStoreError

PLACE = Azure("fedloommodels", "models", "hospital", encryption_scope="hospital")
SCOPE = SimpleNamespace(default_encryption_scope="hospital", prevent_encryption_scope_override=True)
GOOD = {"public_access": None, "encryption_scope": SCOPE, "has_immutability_policy": False, "has_legal_hold": False}
KEPT = SimpleNamespace(enabled=True, days=30)
LOGS = SimpleNamespace(read=True, write=True, delete=True)


def refused(code, error_code):
    error = HttpResponseError("in Azure's words")
    error.status_code, error.error_code = code, error_code
    return error


def raising(error):
    def call(*_, **__):
        raise error

    return call


@pytest.fixture
def care(monkeypatch, tmp_path):
    (tmp_path / "AZURE_STORAGE_KEY").write_text("a2V5")

    def made(
        *, properties=GOOD, service=None, version="2026-11-26T06:00:00.0000000Z", sku="Standard_GZRS", by_key=False
    ):
        blob = SimpleNamespace(
            get_blob_properties=lambda: SimpleNamespace(version_id=version),
            upload_blob=lambda _: {"version_id": version},
            delete_blob=lambda: None,
        )
        container = SimpleNamespace(
            get_container_properties=properties if callable(properties) else lambda: SimpleNamespace(**properties),
            list_blobs=lambda *_, **__: [SimpleNamespace(name="hospital/HEAD")],
            get_blob_client=lambda _: blob,
        )
        told = {"delete_retention_policy": KEPT, "analytics_logging": LOGS}
        account = SimpleNamespace(
            get_service_properties=service or (lambda: told), get_account_information=lambda: {"sku_name": sku}
        )
        monkeypatch.setattr(AzureBucket, "container", property(lambda _: container))
        monkeypatch.setattr(AzureBucket, "service", property(lambda _: account))
        monkeypatch.setattr(AzureBucket, "by_key", property(lambda _: by_key))
        return AzureCare(PLACE, tmp_path, Wanted(cold_class="Cool", regions=("westeurope",)))

    return made


def by_name(findings):
    return {each.what: each for each in findings}


@pytest.mark.parametrize("by_writing", [True, False])
def test_a_container_that_is_set_up_leaves_what_the_account_does_not_show(care, by_writing):
    found = by_name(care().check(by_writing=by_writing))
    assert {what for what, each in found.items() if each.state == "missing"} == set()
    assert {what for what, each in found.items() if each.state == "unknown"} == {
        "in an allowed region", "no public access in the account", "TLS alone", "no access by the account's keys",
        "updates expire", "deleted versions go",
    }  # fmt: skip
    assert all("az storage account" in each.told for each in found.values() if each.state == "unknown")
    assert found["replicated"].remark == "Standard_GZRS: the zones of its region, and a second one"


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"public_access": "container"}, "no public access"),
        ({"encryption_scope": SimpleNamespace(default_encryption_scope="$account-encryption-key", prevent_encryption_scope_override=False)}, "encrypted by default"),
        ({"encryption_scope": SimpleNamespace(default_encryption_scope="hospital", prevent_encryption_scope_override=False)}, "no other encryption"),
        ({"has_immutability_policy": True}, "HEAD can be replaced"),
        ({"has_legal_hold": True}, "HEAD can be replaced"),
    ],
)  # fmt: skip
def test_what_a_container_says_of_itself(care, change, lacks):
    found = by_name(care(properties=GOOD | change).check())
    assert found[lacks].state == "missing"


def test_versions_are_known_by_a_blob_that_has_one(care):
    assert by_name(care(version=None).check(by_writing=True))["versions are kept"].state == "missing"
    unknown = by_name(care(version=None).check(by_writing=False))["versions are kept"]
    assert unknown.state == "unknown", "the blob may be older than the setting"


def test_a_right_that_is_missing_makes_it_unknown(care):
    denied = raising(refused(403, "AuthorizationPermissionMismatch"))
    no_key = raising(refused(401, "InvalidAuthenticationInfo"))  # of a request that is for keys of the account
    assert by_name(care(service=no_key).check())["access is logged"].state == "unknown"
    found = by_name(care(properties=denied, service=denied).check(by_writing=False))
    assert {each.state for each in found.values()} == {"unknown", "kept"}
    assert found["soft delete"].told == "403 AuthorizationPermissionMismatch; the credentials may not ask"


@pytest.mark.parametrize(
    ("error", "kind"),
    [(refused(403, "AuthenticationFailed"), StoreDeniedError), (refused(404, "ContainerNotFound"), UnfitStoreError)],
)
def test_credentials_that_are_none_and_no_container_are_no_finding(care, error, kind):
    with pytest.raises(kind):
        list(care(properties=raising(error)).check())


def test_what_is_done_by_hand_has_the_policy_of_this_prefix():
    text = azurepolicy.by_hand(PLACE, Wanted(("1111",), updates_days=7, noncurrent_days=14))
    commands, _, document = text.partition("\n{")
    assert "az role assignment create --assignee 1111 --role 'Storage Blob Data Contributor'" in commands
    assert "--min-tls-version TLS1_2" in commands
    updates, versions = json.loads("{" + document)["rules"]
    assert updates["name"] == "fedloom-models-hospital-updates"
    assert updates["definition"] == {
        "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 7}}},
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["models/hospital/updates/"]},
    }
    assert versions["definition"]["actions"] == {"version": {"delete": {"daysAfterCreationGreaterThan": 14}}}
    assert versions["definition"]["filters"]["prefixMatch"] == ["models/hospital/"]
