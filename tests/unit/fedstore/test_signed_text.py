"""What URLs of Google and Azure sign, put together here by the clouds' documents: no emulator looks at all of it.

cloud.google.com/storage/docs/authentication/canonical-requests; learn.microsoft.com/rest/api/storageservices/create-service-sas and
create-user-delegation-sas.
"""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from azure.identity import CredentialUnavailableError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from google.auth import compute_engine

from fedapi.wire.location import Azure, Gcs
from fedapi.wire.message import ObjectRef
from fedstore import azure, gcs
from fedstore.azure import AzureBucket
from fedstore.errors import StoreDeniedError, UnfitStoreError
from fedstore.gcs import GcsBucket
from tests.servers.gcskeys import EMAIL, private_key, service_account

NAME = "p/updates/ns/job/site/client_site_round_1.safetensors"
REF = ObjectRef(key=NAME, sha256="ab" * 32, size=12345)
NOW, LIFETIME_S = 1_800_000_000.0, 1800
KEY = base64.b64encode(b"k" * 64).decode()


def google_canonical(presigned):
    """The canonical request and the text to sign, by Google's document."""
    url = urlsplit(presigned.url)
    said = dict(parse_qsl(url.query))
    said.pop("X-Goog-Signature")
    names = said["X-Goog-SignedHeaders"].split(";")
    headers = {**presigned.headers, "host": url.netloc}
    assert sorted(headers) == names, "every header is bound"
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(said.items()))
    lines = [presigned.method, url.path, query, *(f"{name}:{headers[name]}" for name in names), ""]
    request = "\n".join([*lines, ";".join(names), "UNSIGNED-PAYLOAD"])
    scope = said["X-Goog-Credential"].split("/", 1)
    digest = hashlib.sha256(request.encode()).hexdigest()
    return said, "\n".join(["GOOG4-RSA-SHA256", said["X-Goog-Date"], scope[1], digest])


def google_signature(presigned):
    return bytes.fromhex(dict(parse_qsl(urlsplit(presigned.url).query))["X-Goog-Signature"])


@pytest.fixture
def google(tmp_path):
    (tmp_path / "service-account.json").write_text(service_account())
    return GcsBucket(Gcs("bucket", "p", kms_key="projects/p/locations/l/keyRings/r/cryptoKeys/k"), tmp_path)


def test_google_a_put_binds_size_absence_metadata_and_key(google):
    put = google.presigned_put(NAME, REF, NOW, LIFETIME_S)
    assert put.headers == {
        "content-type": "application/octet-stream",
        "x-goog-content-length-range": "12345,12345",
        "x-goog-if-generation-match": "0",
        "x-goog-meta-sha256": "ab" * 32,
        "x-goog-encryption-kms-key-name": "projects/p/locations/l/keyRings/r/cryptoKeys/k",
    }
    assert put.url.startswith(f"https://storage.googleapis.com/bucket/{NAME}?")
    said, text = google_canonical(put)
    assert said["X-Goog-Expires"] == "1800"
    assert said["X-Goog-Credential"].startswith(f"{EMAIL}/")
    private_key().public_key().verify(google_signature(put), text.encode(), padding.PKCS1v15(), hashes.SHA256())


def test_google_a_get_binds_its_name(google):
    get = google.presigned_get(NAME, NOW, LIFETIME_S)
    _, text = google_canonical(get)
    private_key().public_key().verify(google_signature(get), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    assert (get.method, get.headers) == ("GET", {})


def test_google_a_workload_signs_by_iam(tmp_path, monkeypatch):
    """GKE's workload identity has a token and no key: IAM signs with that of the account."""
    identity = compute_engine.Credentials(service_account_email=EMAIL, universe_domain="googleapis.com")
    asked = []

    def answer(_request, url, method, body, headers, **_):
        asked.append((url, method, headers["Authorization"]))
        text = base64.b64decode(json.loads(body)["payload"])
        signature = private_key().sign(text, padding.PKCS1v15(), hashes.SHA256())
        body = json.dumps({"signedBlob": base64.b64encode(signature).decode()}).encode()
        return SimpleNamespace(status=200, data=body)

    def refresh(self, _request):
        self.token, self.expiry = "a-token", datetime.now(UTC).replace(tzinfo=None, year=2100)

    monkeypatch.setattr(compute_engine.Credentials, "refresh", refresh)
    monkeypatch.setattr(gcs.google.auth, "default", lambda scopes: (identity, "tests"))
    monkeypatch.setattr("google.auth.transport.requests.Request.__call__", answer)
    put = GcsBucket(Gcs("bucket", "p"), None).presigned_put(NAME, REF, NOW, LIFETIME_S)
    _, text = google_canonical(put)
    private_key().public_key().verify(google_signature(put), text.encode(), padding.PKCS1v15(), hashes.SHA256())
    account = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:signBlob?alt=json"
    assert asked == [(account, "POST", "Bearer a-token")]


def test_google_who_cannot_sign_is_told_the_way_out(tmp_path):
    bucket = GcsBucket(Gcs("bucket", endpoint="https://127.0.0.1:1"), tmp_path)
    with pytest.raises(UnfitStoreError, match=r"roles/iam\.serviceAccountTokenCreator"):
        bucket.presigned_get(NAME, NOW, LIFETIME_S)


@pytest.mark.parametrize("content", ["{", "[]", '{"type": "authorized_user"}', '{"type": "service_account"}'])
def test_google_credentials_that_are_none_are_refused_without_their_content(tmp_path, content):
    (tmp_path / "service-account.json").write_text(content)
    with pytest.raises(StoreDeniedError, match="credentials"):
        GcsBucket(Gcs("bucket"), tmp_path)


def azure_bucket(tmp_path, **place):
    (tmp_path / "AZURE_STORAGE_KEY").write_text(KEY)
    return AzureBucket(Azure("account", "container", "p", **place), tmp_path)


def signed_by(key, lines):
    return base64.b64encode(
        hmac.new(base64.b64decode(key), "\n".join(lines).encode(), hashlib.sha256).digest()
    ).decode()


@pytest.mark.parametrize(("method", "permission"), [("GET", "r"), ("PUT", "c")])
def test_azure_a_key_signs_name_permission_expiry_and_scope(tmp_path, method, permission):
    bucket = azure_bucket(tmp_path, encryption_scope="fedloom")
    url = (
        bucket.presigned_get(NAME, NOW, LIFETIME_S)
        if method == "GET"
        else bucket.presigned_put(NAME, REF, NOW, LIFETIME_S)
    )
    assert url.url.startswith(f"https://account.blob.core.windows.net/container/{NAME}?")
    said = dict(parse_qsl(urlsplit(url.url).query))
    expiry = datetime.fromtimestamp(NOW + LIFETIME_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (url.method, said["sp"], said["se"], said["spr"]) == (method, permission, expiry, "https")
    resource = f"/blob/account/container/{NAME}"
    # sp st se resource si sip spr sv sr snapshot ses rscc rscd rsce rscl rsct
    lines = [permission, "", expiry, resource, "", "", "https", said["sv"], "b", "", "fedloom", "", "", "", "", ""]
    assert said["sig"] == signed_by(KEY, lines)


def test_azure_a_workload_signs_with_a_delegation_key_that_outlives_the_url(tmp_path):
    bucket = AzureBucket(Azure("account", "container"), tmp_path)
    given = []

    def delegation_key(start, end):
        given.append(end)
        return SimpleNamespace(
            signed_oid="oid",
            signed_tid="tid",
            signed_start=start.strftime("%Y-%m-%dT%H:%M:%SZ"),
            signed_expiry=end.strftime("%Y-%m-%dT%H:%M:%SZ"),
            signed_service="b",
            signed_version="2020-02-10",
            signed_delegated_user_tid=None,
            value=KEY,
        )

    service = SimpleNamespace(get_user_delegation_key=delegation_key)
    now = datetime.now(UTC).timestamp()
    first, again = (bucket._delegation.until(service, datetime.fromtimestamp(now + LIFETIME_S, UTC)) for _ in range(2))
    assert first == again
    assert len(given) == 1
    late = datetime.fromtimestamp(now + 3 * 86400, UTC)
    bucket._delegation.until(service, late)
    assert given[1] > late
    bucket._delegation.until(SimpleNamespace(get_user_delegation_key=delegation_key), late)
    assert len(given) == 3, "other credentials, another key"


def test_azure_what_a_delegation_key_signs(tmp_path, monkeypatch):
    bucket = AzureBucket(Azure("account", "container"), tmp_path)
    parts = {
        "signed_oid": "oid",
        "signed_tid": "tid",
        "signed_start": "2026-01-01T00:00:00Z",
        "signed_expiry": "2026-01-02T00:00:00Z",
        "signed_service": "b",
        "signed_version": "2020-02-10",
    }
    key = SimpleNamespace(**parts, signed_delegated_user_tid=None, value=KEY)
    monkeypatch.setattr(bucket._delegation, "until", lambda _service, _expiry: {"user_delegation_key": key})
    said = dict(parse_qsl(urlsplit(bucket.presigned_put(NAME, REF, NOW, LIFETIME_S).url).query))
    expiry = datetime.fromtimestamp(NOW + LIFETIME_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    # sp st se resource, the key's six, saoid suoid scid, delegated tenant and user, sip spr sv sr snapshot ses,
    # signed headers and query parameters, rscc rscd rsce rscl rsct
    lines = ["c", "", expiry, f"/blob/account/container/{NAME}", *parts.values(), "", "", "", "", "", "", "https"]
    lines += [said["sv"], "b", "", "", "", "", "", "", "", "", ""]
    assert said["sig"] == signed_by(KEY, lines)
    assert (said["skoid"], said["sktid"], said["sp"]) == ("oid", "tid", "c")


def test_azure_no_identity_at_all_is_denied_and_not_an_outage(tmp_path, monkeypatch):
    def none(*_scopes, **_options):
        raise CredentialUnavailableError("no identity was found")

    monkeypatch.setattr(azure, "_TRIES", 0)
    monkeypatch.setattr(azure, "_identity", lambda _files: SimpleNamespace(get_token=none))
    with pytest.raises(StoreDeniedError, match="no identity was found"):
        AzureBucket(Azure("account", "container", "p"), tmp_path).stat("p/a")
