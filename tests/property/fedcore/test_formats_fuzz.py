"""Files that are almost right: entries, notes, keys and tiles of a ledger, and encoded updates. See also test_tensorfile_fuzz."""

import numpy as np
import pytest

from fedcore.compression import fileform
from fedcore.compression.codec import MalformedEncodingError
from fedcore.ledger import entries, merkle, note, tiles
from fedcore.ledger.entries import MalformedEntryError
from fedcore.ledger.note import MalformedNoteError, Signer, Verifier, WrongSignatureError
from fedcore.ledger.tiles import MalformedTileError
from fedcore.tensors import arithmetic, tensorfile
from fedcore.tensors.tensorfile import ITEM_BYTES, MalformedTensorFileError
from tests.property.mutations import check
from tests.unit.fedcore.compression.coding import CODECS, file_of

SIGNER = Signer("example.com/lab/job", bytes(range(32)))
BASE = {"w": np.arange(1100, dtype=np.float32), "b": np.ones(3, np.float32), "n": np.zeros(2, np.int64)}
_FILE = file_of(BASE, CODECS[0], among=())
PLAIN = tensorfile.parsed(_FILE[8 : 8 + tensorfile.header_size(_FILE[:8], len(_FILE))], len(_FILE))


def test_an_entry_is_read_or_malformed():
    said = [
        entries.entry(
            "accepted", 1.5, client="a", round=3, payloads={"update": "00" * 32}, sites=["a", "é"]
        ).canonical()
    ]
    check(entries.parsed, said, MalformedEntryError, examples=300)


def test_a_note_is_opened_or_refused():
    said = [SIGNER.signed(7, merkle.leaf_hash(b"")), SIGNER.signed(0, merkle.EMPTY) + b"\xe2\x80\x94 witness AAAA\n"]
    check(lambda data: note.opened(data, SIGNER.verifier), said, MalformedNoteError, WrongSignatureError, examples=300)


def test_a_key_is_read_or_malformed():
    said = [str(SIGNER.verifier).encode()]
    check(lambda data: Verifier.parsed(data.decode("utf-8", "surrogateescape")), said, MalformedNoteError, examples=300)


def test_a_key_whose_name_is_no_text_is_malformed():
    """As an argument has bytes that are no UTF-8."""
    with pytest.raises(MalformedNoteError):
        Verifier.parsed(f"\udcff{SIGNER.verifier}")


def test_tiles_and_bundles_are_read_or_malformed():
    check(lambda data: tiles.entries_of(data, 3), [tiles.bundle([b"a", b"", b"x" * 300])], MalformedTileError)
    check(lambda data: tiles.hashes_of(data, 2), [b"h" * 64], MalformedTileError)


def decoded(data: bytes, codec: str) -> None:
    """As the hub does: table, form, and every item of every tensor."""
    size = tensorfile.header_size(data[:8], len(data))
    table = tensorfile.parsed(data[8 : 8 + size], len(data))
    encoding, form = fileform.formed(PLAIN, table, codec)
    for where in form.values():
        if isinstance(where, fileform.Coded):

            def read(index, first, items, parts=where.parts):
                part = parts[index]
                begin = part.begin + first * ITEM_BYTES[part.dtype]
                return arithmetic.stored(part.dtype, data[begin : begin + items * ITEM_BYTES[part.dtype]])

            its = fileform.codec_of(encoding)
            out = np.empty(where.kind.items, np.float32)
            its.decode(read, its.index(read, where.kind, encoding), 0, out)


@pytest.mark.parametrize("encoding", CODECS, ids=lambda each: each.codec)
def test_an_encoded_update_is_decoded_or_malformed(encoding):
    whole = file_of(BASE, encoding)
    size = 8 + tensorfile.header_size(whole[:8], len(whole))
    refusals = MalformedTensorFileError, MalformedEncodingError
    check(lambda data: decoded(data, encoding.codec), [whole], *refusals)
    check(lambda body: decoded(whole[:size] + body[: len(whole) - size].ljust(len(whole) - size, b"\xff"), encoding.codec),
        [whole[size:]], *refusals)  # fmt: skip
    check(
        lambda head: decoded(len(head).to_bytes(8, "little") + head + whole[size:], encoding.codec),
        [whole[8:size]],
        *refusals,
    )
