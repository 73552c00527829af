"""The commands `fedloom storage …`: whether a store keeps what Fedloom needs of it, and moving jobs between stores. Used by commands.py.

Exit codes: 0 all is well, 1 a promise is not kept or a job was not copied, 2 bad input (nothing was done).
"""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table
from rich.text import Text

from fedapi.printable import in_a_cell
from fedapi.wire import location
from fedapi.wire.layout import Layout
from fedapi.wire.location import Folder, Memory, UnknownLocationError
from fedcli import console
from fedcli.errors import CommandError
from fedcli.storeerrors import told
from fedlocal.errors import BadInputError
from fedstore import copying, promises
from fedstore.copying import Copied
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore
from fedstore.opening import open_store

app = typer.Typer(help="Stores: whether one can be used, moving jobs between them.", no_args_is_help=True)

_WORDS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("-", "dim")}
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")

_FILES = "Folder with a file per variable of the cloud's SDK, and ca.crt; default: what the SDK finds itself."


@app.command("test")
def try_store(
    where: Annotated[
        str, typer.Argument(metavar="LOCATION", help=f"The store: {location.FORMS.removeprefix('give ')}.")
    ],
    credentials: Annotated[Path | None, typer.Option(help=_FILES)] = None,
) -> None:
    """Tries what Fedloom needs of a store, on the store itself. Takes half a minute and leaves nothing behind."""
    screen = console.out()
    table = Table(Column("PROMISE", no_wrap=True), "KEPT", "SECONDS", "REMARK", box=None)
    broken = False
    with _tried_at(where, credentials) as store, screen.status("trying"):
        with told():
            store.put_once("reachable", b"")  # else every promise would tell the same
        for each in promises.tried(store, alone="fence=lease" in where):
            word, style = _WORDS[each.kept]
            broken |= each.kept is False
            table.add_row(each.promise, Text(word, style=style), f"{each.seconds:.1f}", Text(in_a_cell(each.remark)))
    screen.print(table)
    if broken:
        screen.print("this store cannot be used as it is: docs/storage.md says which can, and with which rights")
        raise typer.Exit(1)


@app.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The store to copy from, as with `test`.")],
    target: Annotated[str, typer.Argument(metavar="TO", help="The store to copy to.")],
    job: Annotated[str | None, typer.Option(help="Only the FederatedJob of this name; default: all jobs.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only jobs of this namespace.")] = None,
    from_credentials: Annotated[Path | None, typer.Option(help=f"For FROM. {_FILES}")] = None,
    to_credentials: Annotated[Path | None, typer.Option(help="For TO.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Also read what is in TO already, and compare.")] = False,
) -> None:
    """Copies jobs to another store: records and models first, each held against its digest, HEAD last. Run again to go on."""
    here, there = _opened(source, from_credentials), _opened(target, to_credentials)
    with told():
        jobs = [each for each in copying.jobs(here) if job in {None, each.name} and namespace in {None, each.namespace}]
    if not jobs:
        which = f" of the name {job}" if job else ""
        raise BadInputError(f"{source} holds no job{which}: a job begins with control/NAMESPACE/NAME-UID/HEAD.json")
    screen = console.out()
    table = Table("JOB", "UID", "COPIED", "BYTES", "WERE THERE", "HEAD", box=None)
    refused: list[str] = []
    for each in jobs:
        done: list[Copied] = []
        try:
            with screen.status(f"copying {each.namespace}/{each.name}") as shown:
                for step in copying.copied(here, there, each, verify=verify):
                    done.append(step)
                    shown.update(f"copying {each.namespace}/{each.name}: {len(done)} objects, {_size(done)}")
        except StoreError as error:
            refused.append(f"{each.namespace}/{each.name} was not copied: {error}")
        table.add_row(*_row(each, done))
    console.show(table)
    if refused:
        raise CommandError("\n".join(refused))


def _row(job: Layout, done: list[Copied]) -> tuple[str, ...]:
    new = [step for step in done if step.how == "copied"]
    head = next((step.how for step in done if step.key == job.head), "not copied")
    return f"{job.namespace}/{job.name}", job.uid, str(len(new)), _size(new), str(len(done) - len(new)), head


def _size(steps: list[Copied]) -> str:
    size, unit = float(sum(step.size for step in steps)), 0
    while size >= 1024 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{size:.0f} {_UNITS[unit]}" if not unit else f"{size:.1f} {_UNITS[unit]}"


@contextmanager
def _tried_at(where: str, credentials: Path | None) -> Iterator[ObjectStore]:
    """A store below a prefix that nobody uses; a folder of it is removed afterwards."""
    name = f"fedloom-test-{secrets.token_hex(6)}"
    try:
        place = location.parsed(where)
    except UnknownLocationError as error:
        raise BadInputError(str(error)) from error
    match place:
        case Memory():
            raise BadInputError(f"{where} is lost with this process: there is nothing to try")
        case Folder(path):
            if not Path(path).is_dir():
                raise BadInputError(f"{path} is not a folder: make it, or mount the volume")
            folder = Path(path, name)
            try:
                yield _opened(str(folder), None)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        case _:
            yield _opened(location.below(place, name).text(), credentials)


def _opened(where: str, credentials: Path | None) -> ObjectStore:
    with told():
        return open_store(where, credentials)
