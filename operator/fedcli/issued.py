"""`fedloom storage issued`: what URLs were made for whom, as issues.json beside each commit tells it. Beside bucketcare.py.

The records have no URL, so none can be shown. Exit codes: 0, 1 a record cannot be read (the others are shown), 2 bad input.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fedapi.printable import in_a_cell, printable
from fedapi.wire import location
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedapi.wire.store import IssueRecord, Layout
from fedcli.bucketcare import app
from fedcli.bucketreader import told
from fedcli.errors import CommandError
from fedlocal import records
from fedlocal.errors import BadInputError
from fedstore import copying, history
from fedstore.errors import MissingError, StoreError, UnknownStoreError
from fedstore.history import Readable
from fedstore.opening import open_store

_WIDE = 4096  # columns: a key that is cut short is of no use

__all__ = ["app"]  # of storage.py, with this command in it


@dataclass(frozen=True)
class Row:
    """URLs of one object for one site and attempt. Times are seconds since 1970."""

    round: int  # beside whose commit it is told
    since: float  # it was issued between these two
    until: float
    site: str
    for_round: int  # the work that it was for; 0 where it was for none
    for_attempt: int
    method: str
    object: str
    size: int
    sha256: str
    expires: float  # the newest URL


@app.command("issued")
def issued(
    job: Annotated[str | None, typer.Argument(help="Name of the FederatedJob.")] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="LOCATION", help=f"Read this store, without a cluster: {location.FORMS.removeprefix('give ')}."
        ),
    ] = None,
    workdir: Annotated[Path | None, typer.Option(help="Of a local run.")] = None,
    round_: Annotated[int | None, typer.Option("--round", min=0, help="Only beside the commit of this round.")] = None,
    site: Annotated[str | None, typer.Option(help="Only for this FLClient.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    credentials: Annotated[
        Path | None, typer.Option(help="Of a bucket: folder with a file per variable of the cloud's SDK.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Shows for which objects URLs were made, for which site, and until when they are good. Never a URL."""
    if store is not None and workdir is not None:
        raise BadInputError("give --store or --workdir, not both")
    if store is not None:
        opened = _in_store(store, credentials, job, namespace)
    elif workdir is not None:
        opened = _in_workdir(workdir, job)
    elif job is None:
        raise BadInputError("give JOB (of a cluster), --store LOCATION, or --workdir FOLDER (of a local run)")
    else:
        from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
        from fedcli.cluster import connect  # noqa: PLC0415

        opened = modelreader.records(connect(kubeconfig, context, namespace), job, history.ISSUES, credentials)
    remarks: list[str] = []
    with opened as (readable, layout):
        found = _rows(readable, layout, round_, remarks)
        rows = [row for row in found if site in {None, row.site}]
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        _print(rows)
    if remarks:
        raise CommandError("\n".join(remarks))


def _rows(store: Readable, layout: Layout, round_: int | None, remarks: list[str]) -> Iterator[Row]:
    """What the records say, oldest round first; of those that cannot be read, and of what they leave out, a remark.

    Records of a commit that did not count are among them: the URLs were made all the same.
    """
    for key, said in history.records_of(store, layout):
        if said.name != history.ISSUES or round_ not in {None, said.round}:
            continue
        try:
            record = IssueRecord.stored(store.get(key))
        except (DamagedRecordError, MissingError, NewerRecordError) as error:
            remarks.append(f"{key}: {error}")
            continue
        if record.omitted:
            remarks.append(f"{key}: {record.omitted} more were issued than a record holds")
        for each in record.issues:
            for holder, expires in sorted(each.holders.items()):
                client, for_round, attempt = holder.split("/")
                yield Row(
                    record.round, record.since, record.until, client, int(for_round), int(attempt),
                    each.method, each.object.key, each.object.size, each.object.sha256, expires,
                )  # fmt: skip


def _print(rows: list[Row]) -> None:
    table = Table("ROUND", "RECORDED", "SITE", "FOR", "METHOD", "OBJECT", "BYTES", "EXPIRES", box=None)
    for row in rows:
        work = f"{row.for_round}, attempt {row.for_attempt}" if row.for_round else "-"
        texts = (_time(row.until), row.site, work, row.method, row.object, str(row.size), _time(row.expires))
        table.add_row(str(row.round), *map(in_a_cell, texts))
    Console(highlight=False, soft_wrap=True, width=_WIDE).print(table)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _in_store(
    where: str, credentials: Path | None, job: str | None, namespace: str | None
) -> Iterator[tuple[Readable, Layout]]:
    """The one job of that name in a store."""
    try:
        store = open_store(where, credentials)
    except UnknownStoreError as error:
        raise BadInputError(str(error)) from error
    with told(where):
        found = [
            each for each in copying.jobs(store) if job in {None, each.name} and namespace in {None, each.namespace}
        ]
        if len(found) != 1:
            known = ", ".join(f"{each.namespace}/{each.name}-{each.uid}" for each in found) or "none"
            raise BadInputError(
                f"{where} holds not exactly one such job ({printable(known)}): give JOB and --namespace"
            )
        yield store, found[0]


@contextmanager
def _in_workdir(workdir: Path, job: str | None) -> Iterator[tuple[Readable, Layout]]:
    state = records.state_of(workdir, job)
    try:
        yield records.opened(state)
    except StoreError as error:
        raise CommandError(f"{state.root}: {error}") from error
