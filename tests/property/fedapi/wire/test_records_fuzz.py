"""Stored records that are almost right, of this version and of older ones: read, or refused as damaged or newer."""

import json
from pathlib import Path

import pytest

from fedapi.wire import storekey
from fedapi.wire.commit import CommitRecord
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import LedgerRestart
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.plan import PlanRecord
from fedapi.wire.site import EvaluationReport
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from fedapi.wire.update import UpdateEnvelope
from tests.property.mutations import check

STORES = Path(__file__).parents[3] / "golden" / "fedaggregator"
LAYOUT = Layout("ns", "job", "uid-1")
KINDS = {
    "HEAD.json": Head, "plan.json": PlanRecord, "commit.json": CommitRecord, "close.json": CloseRecord,
    "failure.json": FailureRecord, "*/*/evaluation.json": EvaluationRecord, "*.manifest.json": UpdateEnvelope,
    "client_*.evaluation.json": EvaluationReport,
}  # fmt: skip
KEYS = [
    str(file.relative_to(store)) for store in STORES.glob("store-*") for file in store.rglob("*") if file.is_file()
]  # fmt: skip


def samples(name: str) -> list[bytes]:
    return sorted({file.read_bytes() for file in STORES.rglob(name)})


@pytest.mark.parametrize("name", KINDS)
def test_a_record_is_read_damaged_or_newer(name):
    check(KINDS[name].stored, samples(name), DamagedRecordError, NewerRecordError)


def test_the_record_of_a_ledger_s_repair_is_read_damaged_or_newer():
    made = LedgerRestart(number=1, reason="entry 3 is broken", size=3, root="a" * 64, commit_sha256="b" * 64, at=1.5)
    check(LedgerRestart.stored, [made.sealed().canonical()], DamagedRecordError, NewerRecordError)


@pytest.mark.parametrize("name", KINDS)
def test_no_flipped_bit_of_a_sealed_record_is_read(name):
    """Not even one in the name of its checksum, without which it would be of version 0.1."""
    data = next(each for each in samples(name) if b'"checksum"' in each)
    begin = data.index(b'"checksum"')
    for bit in range(8 * begin, 8 * (begin + len('"checksum":"'))):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DamagedRecordError):
            KINDS[name].stored(bytes(changed))


def test_the_samples_are_of_both_forms():
    for name in KINDS:
        sealed = {"checksum" in json.loads(each) for each in samples(name)}
        assert True in sealed, name
    assert any("checksum" not in json.loads(each) for each in samples("HEAD.json"))


def test_a_key_is_one_of_ours_or_none():
    said = [key.encode() for key in KEYS]
    assert any(storekey.parsed(LAYOUT, key) for key in KEYS)
    check(lambda data: storekey.parsed(LAYOUT, data.decode("utf-8", "replace")), said, examples=300)
    check(lambda data: storekey.job_of(data.decode("utf-8", "replace")), said)
