"""`fedloom history`: what happened in each round of a job, from its records. Beside commands.py.

Exit codes: 0, 1 the records cannot be read, 2 bad input.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.table import Table

from fedapi.printable import in_a_cell
from fedapi.wire.message import NewerRecordError
from fedcli import console, jobrecords
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
from fedcore.rounds.evaluation import headline
from fedstore import historyrows
from fedstore.errors import HistoryDamagedError
from fedstore.historyrows import Measured, Row

Form = Literal["table", "json", "jsonl", "csv"]
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # the last four are full-width
_COLUMNS = ("ROUND", "COMMITTED", "SECONDS", "SITES", "SAMPLES", "UP", "DOWN", "MISSED", "FAILED")


def history(
    job: JobArgument = None,
    output: Annotated[
        Form,
        typer.Option("--output", "-o", help="table; jsonl: an object per line and round; json: a list of them; csv."),
    ] = "table",
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Shows all committed rounds: who took part, what travelled, how long it took, and what was measured, site by site."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    try:
        with jobrecords.opened(historyrows.RECORDS, job, store, workdir, credentials, where) as (readable, layout):
            rows = historyrows.rows(readable, layout)
    except (HistoryDamagedError, NewerRecordError) as error:
        raise CommandError(f"the records cannot be read: {error}") from error
    match output:
        case "table":
            console.show(as_table(rows))
        case "json":
            typer.echo(json.dumps([asdict(row) for row in rows], indent=1))
        case "jsonl":
            for row in rows:
                typer.echo(row.line())
        case "csv":
            typer.echo(as_csv(rows), nl=False)


def as_table(rows: list[Row]) -> Table:
    """A line per round, with one metric: over the sites that train, and over the held-out ones."""
    metric = headline(None, (name for row in rows if row.evaluation for name in row.evaluation.metrics)) or "-"
    table = Table(*_COLUMNS, in_a_cell(metric.upper()), "HELD OUT", box=None)
    for row in rows:
        table.add_row(
            str(row.round),
            row.time,
            f"{row.seconds:.3f}",
            in_a_cell(took_part(row)),
            str(row.samples),
            "-" if row.bytes_up is None else str(row.bytes_up),
            str(row.bytes_down),
            str(len(row.missed)),
            str(len(row.failed_attempts)),
            _of(row.evaluation, metric),
            _of(row.held_out, metric),
        )
    return table


def took_part(row: Row) -> str:
    """How many sites have an update in the round, or why there is none in it."""
    if row.rolled_back_to is not None:
        return f"back to {row.rolled_back_to}"
    return row.skipped or str(len(row.participants))


def _of(measured: Measured | None, metric: str) -> str:
    value = measured.metrics.get(metric) if measured else None
    return "-" if value is None else f"{value:.6g}"


_PLAIN = (
    "round",
    "time",
    "seconds",
    "model_sha256",
    "samples",
    "bytes_up",
    "bytes_down",
    "rolled_back_to",
    "skipped",
    "epsilon",
    "record_epsilon",
)


def as_csv(rows: list[Row]) -> str:
    """A line per round. A column for each metric: over the sites that train, of each site, and over the held-out ones."""
    measured = [dict(_metrics(row)) for row in rows]
    columns = sorted({name for each in measured for name in each})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*_PLAIN, "participants", "missed", "failed_attempts", "anomalies", *map(_as_text, columns)))
    for row, each in zip(rows, measured, strict=True):
        counts = (len(row.participants), len(row.missed), len(row.failed_attempts), len(row.anomalies))
        plain = (getattr(row, name) for name in _PLAIN)
        writer.writerow((*plain, *counts, *(each.get(name) for name in columns)))
    return out.getvalue()


def _as_text(name: str) -> str:
    """A name that sites have given, on one line: what begins like a formula a spreadsheet would compute (CWE-1236)."""
    shown = in_a_cell(name)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _metrics(row: Row) -> Iterator[tuple[str, float]]:
    yield from ((f"norm[{site}]", norm) for site, norm in row.norms.items())
    yield from ((f"cosine[{site}]", cosine) for site, cosine in row.cosines.items())
    for scope, measured in (("", row.evaluation), ("held_out.", row.held_out), ("requested.", row.requested)):
        for name, value in measured.metrics.items() if measured else ():
            yield f"{scope}{name}", value
        for site, metrics in measured.sites.items() if measured else ():
            yield from ((f"{scope}{name}[{site}]", value) for name, value in metrics.items())
