"""Errors of a store as those of a command: one translation for all commands that open one.

Called by every module here that reads or writes a store. What is not of fedstore stays what it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from fedapi.wire.message import NewerRecordError
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError
from fedstore.errors import HistoryDamagedError, MissingError, StoreError, UnknownStoreError

CREDENTIALS = "give --credentials FOLDER, or what the cloud's SDK looks for (docs/storage.md)"


@contextmanager
def told(where: str = "", way_out: str = "") -> Iterator[None]:
    """BadInputError where a text names no store, else CommandError. `where`: the store; `way_out`: where it does not answer."""
    place = f"{where}: " if where else ""
    try:
        yield
    except UnknownStoreError as error:
        raise BadInputError(str(error)) from error
    except MissingError as error:
        raise CommandError(f"{place}{error}") from error
    except HistoryDamagedError as error:
        raise CommandError(f"{place}its records are damaged: {error}: restore the job from a backup") from error
    except NewerRecordError as error:
        raise CommandError(f"{place}its records cannot be read by this version: {error}") from error
    except StoreError as error:
        raise CommandError(f"{place}{error}{f': {way_out}' if way_out else ''}") from error
