"""A ledger that is begun anew, because a repair found the one before broken: what is left of that is put aside, never deleted.

Each has an origin of its own, so that nobody is shown two trees under one name. A repair has no key: it leaves a record, and the next
aggregator begins, and tells it in the first entries. Blocks.
"""

from collections.abc import Iterator

from fedapi.wire.layout import Layout
from fedapi.wire.ledger import LedgerRestart
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedcore.ledger.tiles import CHECKPOINT
from fedstore.errors import StoreError
from fedstore.history import Readable
from fedstore.objectstore import ObjectStore

_ASIDE, _RECORD = "broken/", "restart.json"


def newest(store: Readable, layout: Layout) -> LedgerRestart | None:
    """The record of the last repair that did so; None: this is the job's first ledger. StoreError where it is damaged."""
    key = max(_records(store, layout), default=None)
    try:
        return None if key is None else LedgerRestart.stored(store.get(key))
    except (DamagedRecordError, NewerRecordError) as error:
        raise StoreError(f"{key}: {error}") from error


def origin(layout: Layout, restart: LedgerRestart | None) -> str:
    """What the checkpoints are of since then."""
    return layout.ledger_origin if restart is None else f"{layout.ledger_origin}/{restart.number + 1}"


def before(layout: Layout, restart: LedgerRestart) -> str:
    """And what they were of before."""
    return f"{layout.ledger_origin}/{restart.number}" if restart.number > 1 else layout.ledger_origin


def number(layout: Layout, name: str) -> int | None:
    """The inverse: how often it was begun anew before; None: it is another job's."""
    if name == layout.ledger_origin:
        return 0
    rest = name.removeprefix(f"{layout.ledger_origin}/")
    return int(rest) - 1 if rest.isdecimal() else None


def put_aside(store: ObjectStore, layout: Layout, record: LedgerRestart) -> None:
    """All files of the ledger, its checkpoint last: what ends in between is found broken again."""
    folder = layout.ledger(f"{_ASIDE}{record.number:06d}/")
    store.put_once(f"{folder}{_RECORD}", record.sealed().canonical())
    prefix, checkpoint = layout.ledger(""), layout.ledger(CHECKPOINT)
    files = [key for key in store.keys(prefix) if not key.startswith(f"{prefix}{_ASIDE}") and key != checkpoint]
    for key in files:
        store.put_once(f"{folder}{key.removeprefix(prefix)}", store.get(key))
        store.delete(key)
    if (last := store.head(checkpoint)) is not None:
        store.put_once(f"{folder}{CHECKPOINT}", last.data)
        store.delete(checkpoint)


def _records(store: Readable, layout: Layout) -> Iterator[str]:
    return (key for key in store.keys(layout.ledger(_ASIDE)) if key.endswith(f"/{_RECORD}"))
