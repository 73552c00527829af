"""The run's keys and Secrets as files that only their owner reads. Called by reconcile.py.

Master key and CA are made at a job's first run and stay in its state folder; everything else derives from them.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fedlocal.errors import StateBrokenError
from fedlocal.statefolder import StateFolder, write
from fedoperator.decide.decision import SecretRequest
from fedoperator.key_material import Keys, aggregator_files, site_files

LOCAL_HOSTS = ("localhost", "127.0.0.1")
_PRIVATE = 0o600


def keys(state: StateFolder, now: datetime) -> Keys:
    """The stored keys, made if absent."""
    if not state.keys.is_dir():
        fresh = Keys.generated(now)
        _write(state.keys.with_name("keys.new"), fresh.files())
        state.keys.with_name("keys.new").replace(state.keys)
        return fresh
    try:
        return Keys.from_files({path.name: path.read_bytes() for path in state.keys.iterdir()})
    except (OSError, ValueError) as error:
        raise StateBrokenError(f"{state.keys}: {error}: run with --fresh to begin anew") from error


def make(request: SecretRequest, state: StateFolder, keys_: Keys, job_uid: str, now: datetime) -> None:
    """Writes the Secret's files. They derive from the keys, and every run makes them anew."""
    if request.kind == "Aggregator":
        files = aggregator_files(keys_, job_uid, [*request.hosts, *LOCAL_HOSTS], now)
    else:
        files = site_files(keys_, job_uid, request.client)
    _write(state.secret(request.name), files, durable=False)


def _write(folder: Path, files: Mapping[str, bytes], *, durable: bool = True) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        write(folder / name, content, _PRIVATE, durable=durable)
