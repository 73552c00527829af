"""`fedloom ledger` of a store that was restored from another job's backup: signed by the key that is given, or not believed."""

import pytest

from fedapi.wire.layout import Layout
from fedapi.wire.store import Head
from fedcli import ledger
from fedcli.errors import CommandError
from fedcli.jobrecords import Where
from fedcore.ledger import tiles
from fedcore.ledger.note import Signer
from fedstore import opening
from tests.unit.fedaggregator.engine.test_ledger import LAYOUT, SEED, grown

AGAIN = Layout("lab", "again", "0b5c1f9e-0000-4000-8000-000000000002")


@pytest.fixture
def store(tmp_path):
    """Restored: the ledger is still as the other job signed it."""
    made = opening.open_store(f"file:{tmp_path}")
    grown(made, 3)
    for key in [*made.keys(LAYOUT.ledger("tile/"))]:
        made.put_once(AGAIN.at(LAYOUT.inside(key)), made.get(key))
    made.replace_head(AGAIN.ledger(tiles.CHECKPOINT), made.head(LAYOUT.ledger(tiles.CHECKPOINT)).data, None)
    head = Head(epoch=1, round=-1, lineage=(LAYOUT.uid,))
    made.replace_head(AGAIN.head, head.sealed().canonical(), None)
    return made


def opened(tmp_path, signer):
    place = ledger.Place("again", f"file:{tmp_path}", None, None, Where(None, None, None), str(signer.verifier))
    with ledger.opened(place) as found:
        return found.found.checkpoint.size


def test_a_checkpoint_that_the_key_has_not_signed_is_not_believed_of_a_restored_job_either(store, tmp_path):
    with pytest.raises(CommandError, match=r"it is of .*, and the key is that of"):
        opened(tmp_path, Signer(AGAIN.ledger_origin, SEED))


def test_before_the_job_has_begun_it_is_verified_by_the_key_of_the_other(store, tmp_path):
    assert opened(tmp_path, Signer(LAYOUT.ledger_origin, SEED)) == 3
