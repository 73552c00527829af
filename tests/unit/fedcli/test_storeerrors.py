"""Errors of a store as a command tells them: what is bad input, and which way out is said where."""

import pytest

from fedapi.wire.message import NewerRecordError
from fedcli.errors import CommandError
from fedcli.storeerrors import CREDENTIALS, told
from fedlocal.errors import BadInputError
from fedstore.errors import HistoryDamagedError, MissingError, StoreDeniedError, StoreFailedError, UnknownStoreError

WHERE = "s3://lab"


@pytest.mark.parametrize(
    ("error", "becomes", "text"),
    [
        (UnknownStoreError("ftp: is none"), BadInputError, "ftp: is none"),
        (MissingError("no round 3"), CommandError, "s3://lab: no round 3"),
        (HistoryDamagedError("x"), CommandError, "s3://lab: its records are damaged: x: restore the job from a backup"),
        (NewerRecordError("y"), CommandError, "s3://lab: its records cannot be read by this version: y"),
        (StoreDeniedError("no"), CommandError, f"s3://lab: no: {CREDENTIALS}"),
        (CommandError("as it is"), CommandError, "as it is"),
        (KeyError("ours"), KeyError, "'ours'"),
    ],
)
def test_each_error_says_whose_it_is_and_the_way_out(error, becomes, text):
    with pytest.raises(becomes) as found, told(WHERE, CREDENTIALS):
        raise error
    assert str(found.value) == text


def test_without_a_place_the_error_speaks_for_itself():
    with pytest.raises(CommandError) as found, told():
        raise StoreFailedError("/mnt: input/output error")
    assert str(found.value) == "/mnt: input/output error"
