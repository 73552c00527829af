"""Whatever is done to an encrypted payload, it is refused or it is what was sent; however it is written, it comes back."""

from hypothesis import given
from hypothesis import strategies as st

from fedapi.wire import ciphertext
from fedapi.wire.ciphertext import CiphertextError, stored_bytes
from fedapi.wire.encryption import HubKey
from tests.unit.fedapi.wire.test_encryption import JOB_KEY, PLACE, decrypted

SMALL = 12  # 4 KiB: chunks are many and cheap
CHUNK = 1 << SMALL
KEY = HubKey(JOB_KEY)
around = st.integers(0, 3).flatmap(lambda chunks: st.integers(-2, 2).map(lambda more: max(0, chunks * CHUNK + more)))
sizes = around | st.integers(0, 4 * CHUNK)


def encrypted(plain: bytes, blocks: list[int]) -> bytes:
    """In blocks that end at these places."""
    ends = sorted({*(min(end, len(plain)) for end in blocks), len(plain)})
    given_ = [plain[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    encryption = KEY.recipient("X25519").encryption(PLACE, b"k" * 32, SMALL)
    return b"".join(bytes(part) for part in encryption.encrypted(given_))


@st.composite
def payloads(draw):
    size = draw(sizes)
    return (b"%d/" % size * (size // 2 + 1))[:size]


@given(payloads(), st.lists(st.integers(0, 4 * CHUNK), max_size=6))
def test_it_comes_back_whatever_the_blocks_it_was_written_in(plain, blocks):
    data = encrypted(plain, blocks)
    assert len(data) == stored_bytes(len(plain), "X25519", SMALL)
    assert decrypted(data) == plain


@st.composite
def tampered(draw):
    """A payload as it was sent, and what somebody with write access to the bucket may make of it."""
    plain = draw(payloads())
    data = encrypted(plain, [])
    header = ciphertext.header_bytes(data[:12])
    chunks = [data[at : at + CHUNK + 16] for at in range(header, len(data), CHUNK + 16)]
    kind = draw(st.sampled_from(["flip", "cut", "extend", "chunks", "header of another"]))
    if kind == "flip":
        where, bit = draw(st.integers(0, len(data) - 1)), draw(st.integers(0, 7))
        return data, data[:where] + bytes([data[where] ^ 1 << bit]) + data[where + 1 :]
    if kind == "cut":
        return data, data[: draw(st.integers(0, len(data) - 1))]
    if kind == "extend":
        return data, data + draw(st.binary(min_size=1, max_size=2 * CHUNK))
    if kind == "header of another":
        return data, encrypted(plain, [])[:header] + data[header:]
    order = draw(st.lists(st.integers(0, len(chunks) - 1), max_size=2 * len(chunks)))
    return data, data[:header] + b"".join(chunks[index] for index in order)


@given(tampered())
def test_whatever_was_done_to_it_is_refused(case):
    before, data = case
    try:
        decrypted(data)
    except CiphertextError:
        assert data != before
    else:
        assert data == before, "other bytes were taken for what was sent"
