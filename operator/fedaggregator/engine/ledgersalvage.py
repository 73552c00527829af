"""Mends a job's ledger that is lost or broken: it is put aside, and the next aggregator begins another. Beside salvage.py. Blocking.

Without it a job whose ledger lost a file could never go on, also for those who never look at it. It is no secret way out: the new ledger
has another origin, its first entries say what was broken, and so does `fedloom ledger verify`.
"""

import contextlib
import time

from fedaggregator.engine import records
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import LedgerRestart
from fedapi.wire.store import Head
from fedcore.ledger.note import MalformedNoteError, Verifier
from fedstore import history, ledgeraudit, ledgerrestarts, ledgers
from fedstore.ledgers import LedgerBrokenError
from fedstore.objectstore import ObjectStore


def trouble(store: ObjectStore, layout: Layout, public_key: str) -> str:
    """What is broken; empty where nothing is. HEAD and its commits are whole.

    That of a job which has committed nothing since its restore is another's. `public_key`: as the job's status says it; without it no signature is read.
    """
    head = _head(store, layout)
    tip = next(history.links(store, layout, head), None)
    if tip is not None and tip.job_uid != layout.uid:
        return ""
    restart = ledgerrestarts.newest(store, layout)
    is_bound = restart is None or restart.commit_sha256 != head.commit_sha256
    origin = ledgerrestarts.origin(layout, restart)
    bound = tip.ledger if tip is not None and is_bound else None
    return ledgeraudit.fault(store, layout, origin, bound, _verifier(public_key, origin))


def put_aside(store: ObjectStore, layout: Layout, reason: str) -> str:
    """What is left of it; returns the origin of the next one."""
    last, before = None, ledgerrestarts.newest(store, layout)
    with contextlib.suppress(LedgerBrokenError):
        last = ledgers.checkpoint(store, layout, None)
    made = LedgerRestart(
        number=before.number + 1 if before else 1,
        reason=reason,
        size=last.checkpoint.size if last else None,
        root=last.checkpoint.root.hex() if last else None,
        commit_sha256=_head(store, layout).commit_sha256,
        at=time.time(),
    )
    ledgerrestarts.put_aside(store, layout, made)
    return ledgerrestarts.origin(layout, made)


def _head(store: ObjectStore, layout: Layout) -> Head:
    found = records.read_head(store, layout)
    return found[0] if found else Head(epoch=1, round=-1)


def _verifier(public_key: str, origin: str) -> Verifier | None:
    """None where the status says nothing, or speaks of another ledger."""
    with contextlib.suppress(MalformedNoteError):
        found = Verifier.parsed(public_key)
        return found if found.name == origin else None
    return None
