"""What a site encrypts, the aggregator decrypts, and nobody takes for anything else.

The oracle opens a payload with RFC 9180 and the STREAM written out here, from `hmac`, X25519 and one call per chunk of AES-GCM.
"""

import hashlib
import hmac
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedapi.wire import ciphertext
from fedapi.wire.ciphertext import CHUNK_LOG2, KEMS, CiphertextError, Frame, Header, Place, stored_bytes
from fedapi.wire.encryption import HubKey, Recipient
from fedapi.wire.tokens import hkdf

JOB_KEY = bytes(range(32))
PLACE = Place(job_uid="uid-1", round=3, attempt=2, client="site-a", base_sha256="ab" * 32, payload="update")
CHUNK = 1 << CHUNK_LOG2
PLAIN = bytes(range(251)) * 600  # three chunks, the last one shorter
GOLDEN = Path(__file__).parents[3] / "golden" / "fedapi" / "version2"


def encrypted(plain: bytes, kem="X25519", place=PLACE, job_key=JOB_KEY, key=b"k" * 32) -> bytes:
    encryption = HubKey(job_key).recipient(kem).encryption(place, key)
    return b"".join(bytes(part) for part in encryption.encrypted([plain]))


def decrypted(data: bytes, kem="X25519", place=PLACE, job_key=JOB_KEY) -> bytes:
    """As the aggregator does, with all in memory: header, last chunk, then every chunk."""
    size = ciphertext.header_bytes(data[: ciphertext.PREFIX_BYTES])
    decryption = HubKey(job_key).opened(data[:size], len(data), kem, place)
    frame, plain = decryption.frame, bytearray(decryption.frame.size)
    for index in (frame.chunks - 1, *range(frame.chunks)):
        offset, stored = frame.stored(index)
        begin = index * frame.chunk
        decryption.chunk(
            index, memoryview(data)[offset : offset + stored], memoryview(plain)[begin : begin + frame.plain(index)]
        )
    return bytes(plain)


def parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """The header, and the chunks as they are stored."""
    header = data[: ciphertext.header_bytes(data[:12])]
    body = data[len(header) :]
    return header, [body[at : at + CHUNK + 16] for at in range(0, len(body), CHUNK + 16)]


@pytest.mark.parametrize("kem", KEMS)
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_a_payload_of_any_size_comes_back_and_has_the_size_that_was_foretold(size, kem):
    plain = (PLAIN * 2)[:size]
    data = encrypted(plain, kem)
    assert len(data) == stored_bytes(size, kem)
    assert decrypted(data, kem) == plain
    assert size < 16 or plain not in data


def oracle(data: bytes, private: X25519PrivateKey, place: Place) -> bytes:
    """RFC 9180, base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; then the chunks."""

    def extract(salt, label, ikm, suite):
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)

    def expand(prk, label, info, length, suite):
        info, made, block = length.to_bytes(2) + b"HPKE-v1" + suite + label + info, b"", b""
        for counter in range(1, -(-length // 32) + 1):
            block = hmac.digest(prk, block + info + bytes([counter]), hashlib.sha256)
            made += block
        return made[:length]

    assert data[:12] == b"fedloom" + bytes([1, 1, 16]) + (80).to_bytes(2)
    header, enc, sealed = data[:92], data[12:44], data[44:92]
    kem_id, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    shared = private.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + private.public_key().public_bytes_raw()
    secret = expand(extract(b"", b"eae_prk", shared, kem_id), b"shared_secret", context, 32, kem_id)
    info = b"fedloom payload\0" + place.canonical()
    schedule = b"\0" + extract(b"", b"psk_id_hash", b"", suite) + extract(b"", b"info_hash", info, suite)
    base = extract(secret, b"secret", b"", suite)
    key, nonce = expand(base, b"key", schedule, 32, suite), expand(base, b"base_nonce", schedule, 12, suite)
    content_key = AESGCM(key).decrypt(nonce, sealed, b"")
    body, plain, number = data[92:], b"", 0
    while True:
        chunk, body = body[: 65536 + 16], body[65536 + 16 :]
        last = 0 if body else 1
        associated = hashlib.sha256(header + info).digest()
        plain += AESGCM(content_key).decrypt(number.to_bytes(11) + bytes([last]), chunk, associated)
        number += 1
        if last:
            return plain


def test_a_hand_written_reader_of_the_rfcs_reads_the_same():
    private = X25519PrivateKey.from_private_bytes(hkdf(JOB_KEY, b"fedloom hpke X25519 x25519"))
    assert oracle(encrypted(PLAIN), private, PLACE) == PLAIN


@pytest.mark.parametrize("kem", KEMS)
def test_what_this_version_has_encrypted_stays_readable(kem):
    """The files were made once. A library that seals otherwise, or keys that derive otherwise, would lose a round."""
    data = (GOLDEN / f"payload-{kem}.enc").read_bytes()
    assert decrypted(data, kem) == b"a payload of version 2\n" * 7


@pytest.mark.parametrize(
    "other",
    [
        {"job_uid": "uid-2"},
        {"round": 4},
        {"attempt": 1},
        {"client": "site-b"},
        {"base_sha256": "ac" * 32},
        {"payload": "controls"},
    ],
)
@pytest.mark.parametrize("kem", KEMS)
def test_a_payload_is_for_one_place_alone(other, kem):
    with pytest.raises(CiphertextError, match="another job, round, attempt, site, base or payload"):
        decrypted(encrypted(PLAIN, kem), kem, PLACE.model_copy(update=other))


@pytest.mark.parametrize("kem", KEMS)
def test_the_key_of_another_job_opens_nothing(kem):
    with pytest.raises(CiphertextError, match="sealed to another aggregator"):
        decrypted(encrypted(PLAIN, kem), kem, job_key=b"o" * 32)


def test_the_kem_is_that_of_the_manifest():
    with pytest.raises(CiphertextError, match="sealed by X25519, not by MLKEM768X25519"):
        decrypted(encrypted(PLAIN), "MLKEM768X25519")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda header, chunks: PLAIN, "not encrypted"),
        (lambda header, chunks: b"", "not encrypted"),
        (lambda header, chunks: header[:50], "a part is missing"),
        (lambda header, chunks: header, "a part is missing"),
        (lambda header, chunks: header + b"".join(chunks[:-1]), "chunk 2 of 2 is not its last one"),
        (lambda header, chunks: header + b"".join(chunks)[:-1], "chunk 3 of 3 is not its last one"),
        (lambda header, chunks: header + b"".join(chunks) + b"x", "chunk 3 of 3 is not its last one"),
        (lambda header, chunks: header + b"".join([*chunks, chunks[-1]]), "chunk 3 of 3 is not its last one"),
        (lambda header, chunks: header + b"".join([chunks[1], chunks[0], chunks[2]]), "chunk 1 of 3 is not what was encrypted there"),
        (lambda header, chunks: header + b"".join([chunks[0], chunks[0], chunks[2]]), "chunk 2 of 3 is not what was encrypted there"),
        (lambda header, chunks: header + b"".join([chunks[0], bytes(CHUNK + 16), chunks[2]]), "chunk 2 of 3 is not what"),
        (lambda header, chunks: header[:7] + b"\x02" + header[8:] + b"".join(chunks), "version 2"),
        (lambda header, chunks: header[:8] + b"\x09" + header[9:] + b"".join(chunks), "kem 9"),
        (lambda header, chunks: header[:9] + b"\x1e" + header[10:] + b"".join(chunks), r"chunks of 2\^30"),
        (lambda header, chunks: header[:9] + b"\x0f" + header[10:] + b"".join(chunks), "not its last one"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_payload_is_named(damage, told):
    with pytest.raises(CiphertextError, match=told):
        decrypted(damage(*parts(encrypted(PLAIN))))


@pytest.mark.parametrize("same_key", [True, False])
def test_chunks_of_another_update_of_the_same_site_are_refused(same_key):
    """Even where the site had drawn the same key twice: the place and the sealed key are bound into every chunk."""
    header, chunks = parts(encrypted(PLAIN))
    key = b"k" * 32 if same_key else b"l" * 32
    _, others = parts(encrypted(PLAIN[::-1], place=PLACE.model_copy(update={"round": 2}), key=key))
    for index in range(3):
        mixed = [others[at] if at == index else chunk for at, chunk in enumerate(chunks)]
        with pytest.raises(CiphertextError, match=f"chunk {index + 1} of 3"):
            decrypted(header + b"".join(mixed))


def test_keys_differ_by_job_and_kem_and_nothing_shows_them():
    keys = [HubKey(job).recipient(kem).public_key for job in (JOB_KEY, b"o" * 32) for kem in KEMS]
    assert len({key[-32:] for key in keys}) == 4
    assert [len(key) for key in keys] == [32, 1184 + 32] * 2
    encryption = Recipient("X25519", keys[0]).encryption(PLACE, b"secret" + b"k" * 26)
    assert "secret" not in repr(encryption)


def test_a_frame_fits_its_chunks():
    for size in (0, 1, 4095, 4096, 4097, 12_288):
        stored = stored_bytes(size, "X25519", 12)
        frame = Frame.of(92, 12, stored)
        assert frame.size == size
        assert sum(frame.plain(index) for index in range(frame.chunks)) == size
        assert sum(frame.stored(frame.chunks - 1)) == stored
    assert Header.decoded(Header("X25519", 12, b"s" * 80).encoded()) == Header("X25519", 12, b"s" * 80)
