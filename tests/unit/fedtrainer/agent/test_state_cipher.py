"""What a site entrusts: read back by its own secret alone, and by nobody when a bit of it, or of where it belongs, is another."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedapi import names
from fedapi.wire.ciphertext import CiphertextError
from fedtrainer.agent.state_cipher import HEADER_BYTES, Place, StateCipher
from fedtrainer.errors import BadSettingsError

SECRET = b"5" * 64
PLACE = Place(client="site-a", round=3, attempt=2, update_sha256="ab" * 32)
CHUNK = 1 << 16
PLAIN = bytes(range(251)) * 600  # three chunks, the last one shorter


def encrypted(tmp_path, plain=PLAIN, secret=SECRET, place=PLACE) -> bytes:
    (tmp_path / "plain").write_bytes(plain)
    sha256, size = StateCipher(secret).encrypt(tmp_path / "plain", place, tmp_path / "encrypted")
    data = (tmp_path / "encrypted").read_bytes()
    assert (sha256, size) == (hashlib.sha256(data).hexdigest(), len(data))
    return data


def decrypted(tmp_path, data, secret=SECRET, place=PLACE) -> bytes:
    (tmp_path / "back").write_bytes(data)
    sha256 = StateCipher(secret).decrypt(tmp_path / "back", place, tmp_path / "out")
    plain = (tmp_path / "out").read_bytes()
    assert sha256 == hashlib.sha256(plain).hexdigest()
    return plain


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_state_of_any_size_comes_back(tmp_path, size):
    plain = (PLAIN * 2)[:size]
    data = encrypted(tmp_path, plain)
    assert decrypted(tmp_path, data) == plain
    assert size < 16 or plain[:16] not in data


def test_the_format_is_what_it_says(tmp_path):
    """Opened by HKDF and AES-GCM of the library, written out here."""
    data = encrypted(tmp_path, PLAIN[: CHUNK + 5])
    header, salt = data[:56], data[8:40]
    assert header[:8] == b"fedsite\x01"
    made = HKDF(SHA256(), 48, None, b"fedloom entrusted state\0" + salt).derive(SECRET)
    assert header[40:] == made[32:]
    text = b'{"attempt":2,"client":"site-a","round":3,"update_sha256":"' + b"ab" * 32 + b'"}'
    bound, cipher = hashlib.sha256(header + text).digest(), AESGCM(made[:32])
    first, last = data[56 : 56 + CHUNK + 16], data[56 + CHUNK + 16 :]
    found = cipher.decrypt(bytes(11) + b"\0", first, bound) + cipher.decrypt((1).to_bytes(11) + b"\1", last, bound)
    assert found == PLAIN[: CHUNK + 5]


def test_no_two_files_share_a_key(tmp_path):
    first, second = encrypted(tmp_path), encrypted(tmp_path)
    assert first[8:HEADER_BYTES] != second[8:HEADER_BYTES]
    assert not {first[at : at + 16] for at in range(8, len(first) - 16, 16)} & {
        second[at : at + 16] for at in range(8, len(second) - 16, 16)
    }


def swapped(data: bytes) -> bytes:
    a, b = HEADER_BYTES, HEADER_BYTES + CHUNK + 16
    return data[:a] + data[b : b + CHUNK + 16] + data[a:b] + data[b + CHUNK + 16 :]


def flipped(at: int):
    return lambda data: bytes(byte ^ (place == at % len(data)) for place, byte in enumerate(data))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (flipped(0), "no state"),
        (flipped(7), "version 0"),
        (flipped(8), "wrong key"),  # salt
        (flipped(40), "wrong key"),  # key id
        (flipped(HEADER_BYTES), "chunk 1 of 3"),
        (flipped(HEADER_BYTES + CHUNK + 20), "chunk 2 of 3"),
        (flipped(-1), "chunk 3 of 3"),
        (swapped, "chunk 1 of 3"),
        (lambda data: data[: HEADER_BYTES + 2 * (CHUNK + 16)], "chunk 2 of 2"),
        (lambda data: data[:-1], "chunk 3 of 3"),
        (lambda data: data + b"x", "chunk 3 of 3"),
        (lambda data: data[: HEADER_BYTES + 3], "a part is missing"),
        (lambda data: data[:20], "no state"),
        (lambda data: b"", "no state"),
    ],
)
def test_any_change_is_refused_by_name(tmp_path, change, why):
    with pytest.raises(CiphertextError, match=why):
        decrypted(tmp_path, change(encrypted(tmp_path)))


@pytest.mark.parametrize("other", [{"client": "b"}, {"round": 4}, {"attempt": 1}, {"update_sha256": "cd" * 32}])
def test_the_state_of_another_update_or_site_is_refused(tmp_path, other):
    with pytest.raises(CiphertextError, match="of another update or site"):
        decrypted(tmp_path, encrypted(tmp_path), place=PLACE.model_copy(update=other))


def test_another_secret_is_told_from_damage(tmp_path):
    with pytest.raises(CiphertextError, match=r"another state\.key .*wrong key"):
        decrypted(tmp_path, encrypted(tmp_path), secret=b"6" * 64)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "not readable"), (b"password", "has 8 bytes, not 32"), (b"x" * 4097, "openssl rand")]
)
def test_a_secret_that_is_none_ends_the_start(tmp_path, content, why):
    if content is not None:
        (tmp_path / names.FILE_STATE_KEY).write_bytes(content)
    with pytest.raises(BadSettingsError, match=why):
        StateCipher.of(tmp_path)


def test_a_line_s_end_is_no_part_of_the_secret(tmp_path):
    (tmp_path / names.FILE_STATE_KEY).write_bytes(SECRET + b"\n")
    (tmp_path / "back").write_bytes(encrypted(tmp_path))
    StateCipher.of(tmp_path).decrypt(tmp_path / "back", PLACE, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == PLAIN
