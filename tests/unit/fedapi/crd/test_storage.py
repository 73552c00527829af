"""Places of the API as places on the wire, and what is encrypted where nothing is said of it."""

import pytest

from fedapi.crd.storage import S3, Azure, Gcs, Storage
from fedapi.wire import location

PLACES = [
    (S3(bucket="models"), "s3://models"),
    (
        S3(bucket="models", prefix="a/b", region="eu-central-1", endpoint="https://minio.svc:9000", kmsKeyID="alias/own"),
        "s3://models/a/b?region=eu-central-1&endpoint=https://minio.svc:9000&kms-key=alias/own",
    ),
    (
        Gcs(bucket="models", prefix="a", kmsKeyName="projects/p/locations/l/keyRings/r/cryptoKeys/k"),
        "gs://models/a?kms-key=projects/p/locations/l/keyRings/r/cryptoKeys/k",
    ),
    (
        Azure(account="hospital", container="models", encryptionScope="own"),
        "az://hospital/models?encryption-scope=own",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("place", "text"), PLACES)
def test_a_bucket_is_said_as_fedstore_reads_it(place, text):
    assert place.location().text() == text
    assert location.parsed(text) == place.location()


@pytest.mark.parametrize(
    ("storage", "kem"),
    [
        ({}, None),
        ({"volume": {"size": "1Gi"}}, None),
        ({"s3": {"bucket": "models"}}, "MLKEM768X25519"),
        ({"gcs": {"bucket": "models"}, "clientEncryption": {"kem": "X25519"}}, "X25519"),
        ({"s3": {"bucket": "models"}, "clientEncryption": {"enabled": False}}, None),
        ({"clientEncryption": {"enabled": True}}, "MLKEM768X25519"),
    ],
)
def test_updates_are_encrypted_with_a_bucket_and_not_with_a_volume(storage, kem):
    assert Storage.model_validate(storage).encrypted_by == kem
