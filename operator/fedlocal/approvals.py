"""Tells decisions on the release in the ledger of a run on this machine: it has the job's key, and no aggregator runs. Called by fedcli."""

import time
from datetime import UTC, datetime

from fedaggregator.engine import approvals
from fedaggregator.errors import FatalError
from fedapi.crd.release import Release, ReleaseStatus
from fedapi.wire.tokens import job_key, ledger_seed
from fedlocal import key_store, records
from fedlocal.errors import StateBrokenError
from fedlocal.statefolder import StateFolder, locked
from fedstore.errors import StoreError


def tell(state: StateFolder, asked: Release) -> ReleaseStatus:
    """What the ledger tells then: each decision once, however often it is asked for. StateBrokenError, StateBusyError."""
    with locked(state.root):
        keys = key_store.keys(state, datetime.now(UTC))
        try:
            store, layout = records.opened(state)
            return approvals.tell(store, layout, ledger_seed(job_key(keys.master, layout.uid)), asked, time.time)
        except (FatalError, StoreError) as error:
            raise StateBrokenError(f"{state.root}: the decision is not told in the ledger: {error}") from error
