"""A store's place is one line of text, and the line is the place again."""

import pytest

from fedapi.wire import location
from fedapi.wire.location import S3, Azure, Folder, Gcs, Memory, UnknownLocationError

PLACES = [
    (Folder("/var/lib/fedloom/store"), "/var/lib/fedloom/store"),
    (Memory("a"), "memory:a"),
    (S3("models"), "s3://models"),
    (S3("models", fence="lease"), "s3://models?fence=lease"),
    (
        S3("models", "team/a", "eu-central-1", "https://s3.example.org:8443", "arn:aws:kms:eu-central-1:1:key/k"),
        "s3://models/team/a?region=eu-central-1&endpoint=https://s3.example.org:8443&kms-key=arn:aws:kms:eu-central-1:1:key/k",
    ),
    (Gcs("models", "a", kms_key="projects/p/k"), "gs://models/a?kms-key=projects/p/k"),
    (Azure("account", "box", "a/b", encryption_scope="own"), "az://account/box/a/b?encryption-scope=own"),
]


@pytest.mark.parametrize(("place", "text"), PLACES)
def test_a_place_is_said_and_read_again(place, text):
    assert place.text() == text
    assert location.parsed(text) == place


@pytest.mark.parametrize("text", ["file:/a", "file:///a", "/a"])
def test_a_folder_has_three_spellings(text):
    assert location.parsed(text) == Folder("/a")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "file:",
        "memory:",
        ":x",
        "ftp://a/b",
        "s3:",
        "s3://",
        "s3://b/../c",
        "s3://b/.hidden",
        "s3://b?colour=red",
        "s3://b?fence=wood",
        "az://account",
    ],
)
def test_what_names_no_store_is_refused(text):
    with pytest.raises(UnknownLocationError):
        location.parsed(text)


def test_a_prefix_grows():
    assert location.below(S3("b"), "x") == S3("b", "x")
    assert location.below(S3("b", "a"), "x").text() == "s3://b/a/x"
