"""`fedloom storage issued`: what URLs were made for whom, as issues.json beside each commit tells it. Beside bucketcare.py.

The records have no URL, so none can be shown. Exit codes: 0, 1 a record cannot be read (the others are shown), 2 bad input.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from fedapi.printable import in_a_cell
from fedapi.wire.issues import IssueRecord
from fedapi.wire.layout import Layout
from fedapi.wire.message import DamagedRecordError, NewerRecordError
from fedcli import console, jobrecords
from fedcli.bucketcare import app
from fedcli.errors import CommandError
from fedcli.jobrecords import (
    ContextOption,
    CredentialsOption,
    JobArgument,
    KubeconfigOption,
    NamespaceOption,
    StoreOption,
    WorkdirOption,
)
from fedstore import history
from fedstore.errors import MissingError
from fedstore.history import Readable

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
    job: JobArgument = None,
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    round_: Annotated[int | None, typer.Option("--round", min=0, help="Only beside the commit of this round.")] = None,
    site: Annotated[str | None, typer.Option(help="Only for this FLClient.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Shows for which objects URLs were made, for which site, and until when they are good. Never a URL."""
    opened = jobrecords.opened(
        (history.ISSUES,), job, store, workdir, credentials, jobrecords.Where(namespace, kubeconfig, context)
    )
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
    console.show(table)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
