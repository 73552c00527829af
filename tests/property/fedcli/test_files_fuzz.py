"""Files that a user gives to `fedloom` and that are almost right: keys, proofs and ledgers. Read, or refused in words."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedapi.wire import release as wire
from fedapi.wire.release import Approval
from fedapi.wire.signing import SigningKey, UnusableKeyError
from fedcli import ledger, ledgerapprovals, release, releasegate
from fedcli.errors import CommandError
from fedcore.ledger import entries, merkle
from fedcore.ledger.entries import MalformedEntryError
from fedcore.ledger.note import Signer
from fedlocal.errors import BadInputError
from tests.property.mutations import check

PEM = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32)).pem()
SIGNER = Signer("example.com/lab/job", bytes(range(32)))
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(5)]
MADE = merkle.levels(LEAVES)
NOTE = SIGNER.signed(5, merkle.root_of(LEAVES)).decode()


def node(level: int, index: int) -> bytes:
    return MADE[level][index]


PROOFS = [
    json.dumps({"proof": "p", "checkpoint": NOTE} | said).encode()
    for said in (
        {"entry": 3, "content": "3", "hashes": ledger._texts(merkle.inclusion(node, 3, 5))},
        {"since": 2, "root": merkle.root(node, 2).hex(), "hashes": ledger._texts(merkle.consistency(node, 2, 5))},
    )
]


def test_a_site_s_key_is_read_or_unusable():
    check(SigningKey.of_pem, [PEM], UnusableKeyError, examples=300)


def test_an_approver_s_key_is_read_or_refused(tmp_path):
    check(lambda data: release._key(written(tmp_path, data)), [PEM], BadInputError)


def test_a_proof_holds_or_is_refused(tmp_path):
    check(
        lambda data: ledger._checked(written(tmp_path, data), str(SIGNER.verifier)), PROOFS, CommandError, BadInputError
    )  # fmt: skip


@pytest.mark.parametrize("number", ["1e999", "-1", "9" * 400, "9" * 5000, "NaN"])
def test_a_number_that_is_no_entry_s(tmp_path, number):
    data = PROOFS[0].replace(b'"entry": 3', f'"entry": {number}'.encode())
    with pytest.raises((CommandError, BadInputError), match=r"proof"):
        ledger._checked(written(tmp_path, data), str(SIGNER.verifier))


def test_a_model_card_is_the_job_s_or_refused():
    card = json.dumps({"uid": "u", "model_sha256": "a" * 64, "result": "Succeeded"}).encode()
    check(lambda data: releasegate.card_digest(data, "u", "a" * 64), [card], CommandError)


def test_what_a_ledger_tells_of_an_approver_is_signed_or_refused():
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(b"k" * 32))
    said = wire.signed(key, "u", Approval("ann", "Approve", "a" * 64, "c" * 64, ""))._asdict()
    del said["decision"]
    told = entries.entry("approved", 1.0, job_uid="u", public_key=key.public_key, **said).canonical()

    def read(data: bytes) -> list[str]:
        return [*ledgerapprovals.told([entries.parsed(data)])]

    assert len(read(told)) == 1
    check(read, [told], CommandError, MalformedEntryError, examples=300)
    with pytest.raises(CommandError, match="not signed by the key of ann"):
        read(told.replace(b'"public_key":"', '"public_key":"\u00e4'.encode()))


def written(folder, data: bytes):
    (folder / "file").write_bytes(data)
    return folder / "file"
