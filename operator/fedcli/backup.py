"""The commands `fedloom backup …`: list, make, prove, restore, and print manifests for a new cluster. Used by commands.py.

They work on stores alone, with the operator's own rights to them, so that a lost cluster is no obstacle. Exit codes: 0, 1 it
could not be done (the line says why), 2 bad input (nothing was done).
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.table import Table

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.printable import printable
from fedapi.wire import location
from fedapi.wire.layout import Layout
from fedbackup import archive as archives
from fedbackup.apiobjects import applicable, secrets_named
from fedbackup.archive import Archive
from fedbackup.copying import DESTINATION, SOURCE, TARGET
from fedbackup.create import Maker, Policy
from fedbackup.errors import BackupError, BadRequestError, NotRestorableError, told
from fedbackup.evaluating import Program
from fedbackup.freezing import Thaw
from fedbackup.manifest import Signer
from fedbackup.objects import objects_in
from fedbackup.restore import Request, chosen, restored
from fedbackup.verify import Demand, Verifier
from fedcli import console, storeerrors
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store

app = typer.Typer(
    help="Backups of jobs: list, make, prove, restore, and print manifests for a new cluster.", no_args_is_help=True
)

_FORMS = location.FORMS.removeprefix("give ")
_FILES = "Folder with a file per variable of the cloud's SDK, and ca.crt; default: what the SDK finds itself."
PlaceArgument = Annotated[str, typer.Argument(metavar="LOCATION", help=f"The store that holds the backups: {_FORMS}.")]
JobOption = Annotated[
    str, typer.Option("--job", metavar="NAMESPACE/JOB[-UID]", help="Whose backups; default: the only job there.")
]
CredentialsOption = Annotated[Path | None, typer.Option(help=f"For LOCATION. {_FILES}")]
NameOption = Annotated[str, typer.Option("--backup", help="Its name, as `list` shows it; default: the newest.")]
PinOption = Annotated[str, typer.Option("--public-key", help="Ed25519 key, hex, that must have signed the backup.")]
KeyOption = Annotated[
    Path | None, typer.Option("--key", help=f"File `{names.FILE_JOB_KEY}` of the job's Secret, which signs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
PatienceOption = Annotated[float, typer.Option(help="Seconds to wait for what is in a cold class.")]


@app.command("list")
def list_backups(
    where: PlaceArgument,
    job: JobOption = "",
    credentials: CredentialsOption = None,
    public_key: PinOption = "",
    as_json: JsonOption = False,
) -> None:
    """The backups in a store, oldest first, and whether each was proved."""
    with _errors():
        store = _there(DESTINATION, where, credentials)
        with told(DESTINATION):
            layouts = [archives.located(store, job)[0]] if job else archives.jobs(store)
            rows = [row for layout in layouts for row in _rows(Archive(store, layout, public_key))]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("JOB", "BACKUP", "MADE", "ROUND", "OBJECTS", "BYTES", "NEW BYTES", "PROVED", box=None)
    for row in rows:
        table.add_row(*(printable(str(row[name])) for name in _COLUMNS))
    console.show(table)


_COLUMNS = ("job", "backup", "made", "round", "objects", "bytes", "newBytes", "proved")


def _rows(archive: Archive) -> Iterator[Json]:
    """A row for each backup; one that cannot be read says why."""
    layout = archive.layout
    proofs: dict[str, str] = {}
    for _, found in archive.evidence():
        said = _time(found.at) if found.result == "Verified" else f"failed: {found.reason}"
        proofs.setdefault(found.backup, said)
    for name in archive.names():
        row: Json = {"job": f"{layout.namespace}/{layout.name}-{layout.uid}", "backup": name}
        proved = proofs.get(archive.manifest_key(name), "no")
        try:
            body = archive.read(name).manifest
        except NotRestorableError as error:
            yield row | dict.fromkeys(_COLUMNS[2:-1], "-") | {"proved": f"unreadable: {error.reason}"}
            continue
        yield row | {
            "made": _time(body.created_at),
            "round": body.round,
            "objects": len(body.entries),
            "bytes": body.bytes,
            "newBytes": body.new_bytes,
            "proved": proved,
            "publicKey": body.public_key,
            "key": archive.manifest_key(name),
        }


@app.command()
def create(
    where: PlaceArgument,
    store: Annotated[str, typer.Option(help="The store of the job.")],
    job: Annotated[str, typer.Option("--job", metavar="NAMESPACE/JOB-UID", help="Which job of it.")],
    key: Annotated[Path, typer.Option("--key", help=f"File `{names.FILE_JOB_KEY}` of the job's Secret, which signs.")],
    credentials: CredentialsOption = None,
    store_credentials: Annotated[Path | None, typer.Option(help="For --store, as for LOCATION.")] = None,
    manifests: Annotated[Path | None, typer.Option(help="Folder of the job's FederatedJob and FLClients.")] = None,
    keep_last: Annotated[int | None, typer.Option(min=1, help="Older backups go; default: all stay.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Makes a backup of a job's store, beside its aggregator or without one."""
    with _errors():
        layout, signer = _layout(job), _signer(key)
        bodies = objects_in(manifests, layout.name) if manifests else []
        destination = _opened(DESTINATION, where, credentials)
        _check_key(Archive(destination, layout), signer)
        archive = Archive(destination, layout, signer.public_key)
        source = _there(SOURCE, store, store_credentials)
        made = Maker(source, archive, signer, bodies, Policy(keep_last)).made()
        body = made.manifest
        said = {"key": made.found.key, "round": body.round, "bytes": body.bytes, "newBytes": body.new_bytes}
        said |= {"seconds": round(body.seconds, 3), "publicKey": body.public_key}
        _say(said, f"{made.found.name}: round {body.round}, {body.bytes} bytes, {body.new_bytes} of them new", as_json)
        if made.trouble is not None:
            raise made.trouble


@app.command()
def verify(
    where: PlaceArgument,
    job: JobOption = "",
    name: NameOption = "",
    credentials: CredentialsOption = None,
    public_key: PinOption = "",
    key: KeyOption = None,
    task: Annotated[
        str, typer.Option(metavar="MODULE:FACTORY", help="Measures the model; default: digests alone.")
    ] = "",
    task_path: Annotated[Path, typer.Option(help="Folder that the task's module is in.")] = Path(),
    task_args: Annotated[str, typer.Option(help="The factory's arguments, a JSON object.")] = "{}",
    data: Annotated[Path | None, typer.Option(help="The task's data: a folder per volume.")] = None,
    metric: Annotated[str, typer.Option(help="Which is compared; default: accuracy, else the first.")] = "",
    tolerance: Annotated[float | None, typer.Option(min=0, help="How far it may be from what was recorded.")] = None,
    patience: PatienceOption = 172_800.0,
    as_json: JsonOption = False,
) -> None:
    """Restores a backup into a throw-away place, checks every digest and measures its model; with --key it leaves evidence."""
    with _errors(), tempfile.TemporaryDirectory() as folder:
        store = _there(DESTINATION, where, credentials)
        archive, named = _archive(store, job, public_key)
        program = None
        if task:
            env = {
                names.ENV_ENTRYPOINT: task,
                names.ENV_TASK_PATH: str(task_path.absolute()),
                names.ENV_TASK_ARGS: task_args,
                names.ENV_DATA_DIR: str((data or Path()).absolute()),
                names.ENV_VERIFY_DIR: folder,
            }
            command = (sys.executable, "-m", "fedtrainer", "evaluate")
            program = Program(Path(folder), command, env, patience)
        signer = _signer(key) if key else None
        demand, scratch = Demand(metric, tolerance), Path(folder) / "restored"
        proof = Verifier(archive, signer, scratch, program, demand, _thaw(patience), time.time).proved(name or named)
        found = proof.evidence
        measured = f", {found.metric} {found.measured:.6g}" if found.measured is not None else ""
        text = f"{found.objects} objects, {found.bytes} bytes in {found.restore_seconds:.1f} s, round {found.round}{measured}"
        said = found.model_dump(mode="json", exclude_none=True) | {"evidence": proof.key}
        _say(said, f"{found.backup}: {found.result}: {text} {found.message}".rstrip(), as_json)
        if proof.error is not None:
            raise proof.error


@app.command()
def restore(
    where: PlaceArgument,
    to: Annotated[str, typer.Option(help="The store of the new job; it must hold nothing of it.")],
    new: Annotated[str, typer.Option("--as", metavar="NAMESPACE/JOB-UID", help="The new job.")],
    job: JobOption = "",
    name: NameOption = "",
    round_: Annotated[int | None, typer.Option("--round", min=0, help="Up to this round; default: the last.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="spec.rounds of the new job, to go on from a finished one.")
    ] = None,
    credentials: CredentialsOption = None,
    to_credentials: Annotated[Path | None, typer.Option(help="For --to, as for LOCATION.")] = None,
    public_key: PinOption = "",
    patience: PatienceOption = 172_800.0,
    as_json: JsonOption = False,
) -> None:
    """Puts a backup into an empty store, for a job that goes on from it: what spec.restoreFrom does on a cluster."""
    with _errors():
        archive, named = _archive(_there(DESTINATION, where, credentials), job, public_key)
        target, layout, began = _opened(TARGET, to, to_credentials), _layout(new), time.monotonic()
        found = chosen(archive, name or named, target, layout)
        done = restored(archive, found, target, Request(layout, time.time(), round_, rounds), _thaw(patience))
        seconds = round(time.monotonic() - began, 3)
        said = {"backup": found.key, "round": done.head.round, "objects": done.objects, "bytes": done.bytes}
        what = "was restored before" if done.was_there else f"{done.objects} objects, {done.bytes} bytes in {seconds} s"
        _say(said | {"seconds": seconds}, f"{found.name}: round {done.head.round}, {what}", as_json)


@app.command()
def manifests(
    where: PlaceArgument,
    job: JobOption = "",
    name: NameOption = "",
    credentials: CredentialsOption = None,
    public_key: PinOption = "",
) -> None:
    """Prints the FLClients and the FederatedJob of a backup as YAML for another cluster, with spec.restoreFrom in it."""
    with _errors():
        archive, named = _archive(_there(DESTINATION, where, credentials), job, public_key)
        with told(DESTINATION):
            found = archive.chosen(name or named)
        bodies = applicable(archive, found)
    needed = ", ".join(secrets_named(bodies)) or "none"
    console.err().print(
        printable(f"{found.name}: round {found.manifest.round}; Secrets that it names: {needed}"), markup=False
    )
    typer.echo(yaml.dump_all(bodies, Dumper=_Repeating, sort_keys=False), nl=False)


class _Repeating(yaml.SafeDumper):
    """Writes what is there twice twice, not as an alias: whoever edits one of them leaves the other as it is."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def _archive(store: ObjectStore, job: str, public_key: str) -> tuple[Archive, str]:
    """The backups of a job, and the name of one where `job` is a backup's key."""
    with told(DESTINATION):
        there = archives.jobs(store) if not job else ()
        if len(there) == 1:
            return Archive(store, there[0], public_key), ""
        layout, name = archives.located(store, job)
    return Archive(store, layout, public_key), name


def _layout(said: str) -> Layout:
    layout = archives.identity(said)
    if layout is None:
        raise BadInputError(f"{said!r} is not NAMESPACE/JOB-UID: kubectl get fj JOB -o jsonpath={{.metadata.uid}}")
    return layout


def _signer(path: Path) -> Signer:
    try:
        key = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"--key: {path} cannot be read ({error.strerror})") from error
    if len(key) != 32:
        raise BadInputError(f"--key: {path} has {len(key)} bytes, a job's key has 32")
    return Signer(key)


def _check_key(archive: Archive, signer: Signer) -> None:
    """BadInputError where another key signs the job's backups: they would count for nothing, and go in the end."""
    with told(DESTINATION):
        before = archive.newest()
    if before is not None and before.manifest.public_key != signer.public_key:
        text = f"its public key is {signer.public_key}, that of {before.key} is {before.manifest.public_key}"
        raise BadInputError(f"--key: {text}: give {names.FILE_JOB_KEY} of this very job's Secret")


def _thaw(patience_s: float) -> Thaw:
    return Thaw(patience_s, time.time, time.sleep, lambda text: console.err().print(printable(text), markup=False))


def _there(which: str, where: str, credentials: Path | None) -> ObjectStore:
    """A store that is read: a folder that is missing is not made, as it would be for one that is written."""
    with suppress(location.UnknownLocationError):  # the next line tells it
        match location.parsed(where):
            case location.Folder(path) if not Path(path).is_dir():
                raise BadInputError(f"{which}: there is no folder {path}")
    return _opened(which, where, credentials)


def _opened(which: str, where: str, credentials: Path | None) -> ObjectStore:
    try:
        with told(which):
            return open_store(where, credentials)
    except BadRequestError as error:
        raise BadInputError(str(error)) from error


@contextmanager
def _errors() -> Iterator[None]:
    """As the command line tells them."""
    try:
        with storeerrors.told():
            yield
    except BadRequestError as error:
        raise BadInputError(str(error)) from error
    except BackupError as error:
        raise CommandError(f"{error.reason}: {error}") from error


def _say(content: Json, line: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(content, indent=2))
    else:
        console.out().print(printable(line), markup=False)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
