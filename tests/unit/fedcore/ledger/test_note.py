"""Checkpoints are signed notes as C2SP has them, and what is not signed by the key that is asked for is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcore.ledger import merkle, note
from fedcore.ledger.note import MalformedNoteError, Signer, Verifier, WrongSignatureError

SIGNER = Signer("example.com/lab/job", bytes(range(32)))
ROOT = merkle.leaf_hash(b"")
NOTE = SIGNER.signed(7, ROOT)


def test_a_note_says_what_was_signed():
    assert note.opened(NOTE, SIGNER.verifier) == note.Checkpoint("example.com/lab/job", 7, ROOT)
    assert SIGNER.signed(7, ROOT) == NOTE, "the same bytes every time"
    text, signature = NOTE.decode().split("\n\n")
    assert text.split("\n") == ["example.com/lab/job", "7", base64.b64encode(ROOT).decode()]
    assert signature.startswith("— example.com/lab/job ")


def test_the_key_of_the_specification():
    """The verifier key of the known answers of Go's sumdb/note package."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    found = Verifier.parsed(text)
    assert str(found) == text
    assert found.name == "PeterNeumann"


def test_a_key_is_read_as_it_is_told():
    assert Verifier.parsed(str(SIGNER.verifier)) == SIGNER.verifier


@pytest.mark.parametrize(
    "text", ["", "a", "a+b", "a+00000000+AAAA", "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "+++"]
)
def test_what_is_no_key(text):
    with pytest.raises(MalformedNoteError):
        Verifier.parsed(text)


def test_a_key_with_another_id():
    with pytest.raises(MalformedNoteError, match="the id of this key"):
        Verifier.parsed(str(SIGNER.verifier).replace(SIGNER.verifier.id.hex(), "00000000"))


def test_a_witness_may_sign_beside():
    witness = Signer("witness.example", bytes(32))
    beside = witness.signed(7, ROOT).decode().split("\n\n")[1]
    assert note.opened(NOTE + beside.encode(), SIGNER.verifier).size == 7
    assert note.opened(NOTE.replace("\n\n— ".encode(), f"\n\n{beside}— ".encode()), SIGNER.verifier).size == 7


def test_another_key_of_the_same_name():
    with pytest.raises(WrongSignatureError, match="no good signature"):
        note.opened(NOTE, Signer(SIGNER.origin, bytes(32)).verifier)


def test_the_key_of_another_job():
    with pytest.raises(WrongSignatureError, match=r"it is of 'example\.com/lab/job'"):
        note.opened(NOTE, Signer("example.com/lab/other", SIGNER.seed).verifier)


@given(st.integers(0, 8 * len(NOTE) - 1))
def test_every_flipped_bit_is_found(bit):
    data = bytearray(NOTE)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedNoteError, WrongSignatureError)):
        note.opened(bytes(data), SIGNER.verifier)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises((MalformedNoteError, WrongSignatureError)):
        note.opened(data, SIGNER.verifier)


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_lines_are_refused(first, second, third):
    data = f"{first}\n{second}\n{third}\n\n— {first} {third}\n".encode("utf-8", "replace")
    with pytest.raises((MalformedNoteError, WrongSignatureError)):
        note.opened(data, SIGNER.verifier)


@pytest.mark.parametrize("size", ["-1", "07", "1e3", "", "٣", "99999999999999999", "9007199254740993"])
def test_what_is_no_size(size):
    with pytest.raises(MalformedNoteError):
        note.checkpoint(NOTE.replace(b"\n7\n", f"\n{size}\n".encode()))


def test_a_note_without_end():
    with pytest.raises(MalformedNoteError, match="at most"):
        note.opened(NOTE + b"x" * (1 << 16), SIGNER.verifier)


def test_the_seed_is_not_shown():
    assert str(SIGNER.seed) not in repr(SIGNER)
