"""The run's keys and Secrets as files that only their owner reads. Called by reconcile.py.

Master key and CA are made at a job's first run and stay in its state folder; everything else derives from them.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from fedapi import names
from fedlocal.errors import StateBrokenError
from fedlocal.statefolder import StateFolder, write
from fedoperator.certificates import LIFETIME, renewed_after
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.key_material import Files, Keys, aggregator_files, init_files, site_files

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


def make(request: SecretRequest, state: StateFolder, keys_: Keys, job_uid: str, now: datetime) -> datetime:
    """Writes the Secret's files, which derive from the keys and which every run makes anew; when they are to be written again."""
    _write(state.secret(request.name), _files(request, keys_, job_uid, now), durable=False)
    return now + renewed_after(LIFETIME)


def _files(request: SecretRequest, keys_: Keys, job_uid: str, now: datetime) -> Files:
    match request.kind:
        case "Site":
            files = site_files(keys_, job_uid, request.client, now)
            return files if request.certified else _without_certificate(files)
        case "Init":
            return init_files(keys_, job_uid, now)
        case "Aggregator":
            return aggregator_files(keys_, job_uid, [*request.hosts, *LOCAL_HOSTS], now)


def _without_certificate(files: Files) -> Files:
    """A connection with one is its site's alone; without, the sites of this machine share processes and their connections."""
    return {name: content for name, content in files.items() if name not in (names.FILE_TLS_CERT, names.FILE_TLS_KEY)}


def _write(folder: Path, files: Mapping[str, bytes], *, durable: bool = True) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        write(folder / name, content, _PRIVATE, durable=durable)
