"""Manifests of backups that are almost right: read, or refused by reason."""

import json
import sys

import pytest

from fedbackup import manifest
from fedbackup.errors import NotRestorableError
from fedbackup.manifest import Entry, Evidence, Manifest, Recorded, Signer
from tests.property.mutations import check

SIGNER = Signer(b"j" * 32)
A = "a" * 64
MANIFEST = Manifest(
    tool="1", namespace="ns", job="job", uid="uid", sequence=1, created_at=1.5, round=1, commit_sha256=A, models=(0, 1),
    recorded=Recorded(round=1, model_sha256=A, metrics={"loss": 0.5}, samples=3), bytes=3, new_bytes=3, seconds=0.5,
    entries=(Entry(path=manifest.HEAD, sha256=A, size=3, since=1.0),), public_key=SIGNER.public_key,
)  # fmt: skip
EVIDENCE = Evidence(tool="1", backup="k", result="Verified", at=2.5, public_key=SIGNER.public_key)


@pytest.mark.parametrize("said", [MANIFEST, EVIDENCE], ids=lambda said: type(said).__name__)
def test_a_signed_record_is_read_or_refused(said):
    kind = type(said)
    check(lambda data: manifest.opened(kind, "key", data, SIGNER.public_key), [SIGNER.signed(said)], NotRestorableError)


@pytest.mark.parametrize("said", [MANIFEST, EVIDENCE], ids=lambda said: type(said).__name__)
def test_below_a_good_signature_too(said, monkeypatch):
    kind = type(said)
    monkeypatch.setattr(manifest.Ed25519PublicKey, "from_public_bytes", lambda _: _Agrees())
    check(lambda data: manifest.opened(kind, "key", data), [SIGNER.signed(said)], NotRestorableError)


class _Agrees:
    def verify(self, signature: bytes, content: bytes) -> None:
        """Whatever it is."""


def test_what_is_nested_deeper_than_it_can_be_written_again_is_refused():
    for depth in (sys.getrecursionlimit() - 60, sys.getrecursionlimit() + 500):
        body = json.loads(SIGNER.signed(EVIDENCE))["body"]
        text = json.dumps({"body": body | {"x": "X"}, "signature": "00" * 64})
        with pytest.raises(NotRestorableError):
            manifest.opened(Evidence, "key", text.replace('"X"', "[" * depth + "]" * depth).encode())
