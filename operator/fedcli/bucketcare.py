"""`fedloom storage init`, `check` and `age`: a bucket as Fedloom's data need it. Beside storage.py, which has the group.

Exit codes: 0 all is as it should be, 1 something is missing, or a server does not have it and nobody said that it may lack it, 2
bad input (nothing was done).
"""

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fedapi.printable import in_a_cell
from fedapi.wire import location
from fedapi.wire.location import S3, UnknownLocationError
from fedapi.wire.message import NewerRecordError
from fedcli.errors import CommandError
from fedcli.storage import app
from fedlocal.errors import BadInputError
from fedstore import copying
from fedstore.care import superseded
from fedstore.care.wanted import Finding, Wanted
from fedstore.errors import StoreError

__all__ = ["app"]  # of storage.py, with these commands in it

_STYLES = {"kept": "green", "missing": "bold red", "cannot": "yellow", "unknown": "yellow"}

Where = Annotated[str, typer.Argument(metavar="LOCATION", help="The store: s3://BUCKET/PREFIX?region=…&kms-key=….")]
Credentials = Annotated[
    Path | None,
    typer.Option(help="Folder with a file per variable of the cloud's SDK, and ca.crt; default: what the SDK finds."),
]
Principals = Annotated[
    list[str] | None,
    typer.Option("--principal", help="ARN of an aggregator's or a backup's role. Others are kept out."),
]
Administrators = Annotated[
    list[str] | None, typer.Option("--administrator", help="ARN of who sets the bucket up and may delete for good.")
]
UpdatesDays = Annotated[int, typer.Option(min=1, help="Days after which updates go that nobody deleted.")]
NoncurrentDays = Annotated[int, typer.Option(min=1, help="Days for which what was deleted can be brought back.")]
ColdDays = Annotated[int, typer.Option("--cold-after-days", min=1, help="Age at which superseded models become cold.")]
ColdClass = Annotated[str, typer.Option(help="Storage class of cold models.")]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region in which the bucket may be.")]
ReplicateTo = Annotated[str, typer.Option(help="ARN of a bucket to replicate to.")]
ReplicationRole = Annotated[str, typer.Option(help="ARN of the role that replicates.")]
MayLack = Annotated[
    list[str] | None, typer.Option("--may-lack", help="A requirement, as the table names it, that may be missing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("init")
def init(
    where: Where,
    credentials: Credentials = None,
    principal: Principals = None,
    administrator: Administrators = None,
    updates_days: UpdatesDays = 30,
    noncurrent_days: NoncurrentDays = 30,
    cold_after_days: ColdDays = 90,
    cold_class: ColdClass = "GLACIER_IR",
    region: Regions = None,
    replicate_to: ReplicateTo = "",
    replication_role: ReplicationRole = "",
    may_lack: MayLack = None,
    as_json: AsJson = False,
) -> None:
    """Sets up a bucket: encryption, policy, versions, lifecycle. What is there already, and what others have set, stays."""
    if principal and not administrator:
        raise BadInputError("--principal keeps all others out: give --administrator too, or nobody can undo it")
    if replicate_to and not replication_role:
        raise BadInputError("--replicate-to needs --replication-role, the role that copies")
    place = _place(where)
    wanted = Wanted(
        principals=tuple(principal or ()), administrators=tuple(administrator or ()), kms_key=place.kms_key,
        updates_days=updates_days, noncurrent_days=noncurrent_days, cold_after_days=cold_after_days,
        cold_class=cold_class, regions=tuple(region or ()), replicate_to=replicate_to, replication_role=replication_role,
    )  # fmt: skip
    _told(where, _found(place, credentials, wanted, set_=True), may_lack or (), as_json=as_json)


@app.command("check")
def check(
    where: Where,
    credentials: Credentials = None,
    principal: Principals = None,
    administrator: Administrators = None,
    updates_days: UpdatesDays = 30,
    noncurrent_days: NoncurrentDays = 30,
    cold_after_days: ColdDays = 90,
    cold_class: ColdClass = "GLACIER_IR",
    region: Regions = None,
    replicate_to: ReplicateTo = "",
    may_lack: MayLack = None,
    as_json: AsJson = False,
) -> None:
    """Tells what a bucket lacks, with the options that `init` was given. Changes no setting; tries the policy by empty objects."""
    place = _place(where)
    wanted = Wanted(
        principals=tuple(principal or ()), administrators=tuple(administrator or ()), kms_key=place.kms_key,
        updates_days=updates_days, noncurrent_days=noncurrent_days, cold_after_days=cold_after_days,
        cold_class=cold_class, regions=tuple(region or ()), replicate_to=replicate_to,
    )  # fmt: skip
    _told(where, _found(place, credentials, wanted, set_=False), may_lack or (), as_json=as_json)


@app.command("age")
def age(
    where: Where,
    credentials: Credentials = None,
    job: Annotated[str | None, typer.Option(help="Only the FederatedJob of this name; default: all jobs.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only jobs of this namespace.")] = None,
) -> None:
    """Marks the models that nobody asks for any more, which the bucket's lifecycle sends to its cold class. Run it now and then."""
    from fedstore.care.s3 import S3Tags  # noqa: PLC0415 - needs the extra of S3
    from fedstore.opening import open_store  # noqa: PLC0415

    place = _place(where)
    table = Table("JOB", "UID", "SUPERSEDED", "AT HAND", "CHANGED", box=None)
    try:
        store, tags = open_store(where, credentials), S3Tags(place, credentials)
        for each in copying.jobs(store):
            if job in {None, each.name} and namespace in {None, each.namespace}:
                found = superseded.models(store, each)
                changed = sum(tags.mark(key, cold=cold) for key, cold in found.items())
                cold = sum(found.values())
                table.add_row(
                    f"{each.namespace}/{each.name}", each.uid, str(cold), str(len(found) - cold), str(changed)
                )
    except (StoreError, NewerRecordError) as error:
        raise CommandError(str(error)) from error
    Console(highlight=False, soft_wrap=True).print(table)


def _place(where: str) -> S3:
    try:
        place = location.parsed(where)
    except UnknownLocationError as error:
        raise BadInputError(str(error)) from error
    if not isinstance(place, S3):
        raise BadInputError(
            f"{where}: only buckets of S3 are set up and checked; docs/storage.md says what others need"
        )
    if place.kms_key and not place.endpoint and not place.kms_key.startswith("arn:"):
        raise BadInputError(f"kms-key={place.kms_key}: give the key's ARN, since policies of Amazon compare that")
    return place


def _found(place: S3, credentials: Path | None, wanted: Wanted, *, set_: bool) -> list[Finding]:
    from fedstore.care.s3 import S3Care  # noqa: PLC0415 - needs the extra of S3

    try:
        care = S3Care(place, credentials, wanted)
        return list(care.init() if set_ else care.check())
    except StoreError as error:
        raise CommandError(str(error)) from error


def _told(where: str, findings: Iterable[Finding], may_lack: Iterable[str], *, as_json: bool) -> None:
    findings, allowed = list(findings), set(may_lack)
    if unknown := allowed - {each.what for each in findings}:
        raise BadInputError(f"--may-lack {min(unknown)!r} is not one of {', '.join(each.what for each in findings)}")
    console = Console(highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps({"location": where, "findings": [asdict(each) for each in findings]}, indent=1))
    else:
        table = Table(Column("REQUIREMENT", no_wrap=True), "STATE", "REMARK", box=None)
        for each in findings:
            table.add_row(each.what, Text(each.state, style=_STYLES[each.state]), Text(in_a_cell(each.told)))
        console.print(table)
    if any(each.state != "kept" and each.what not in allowed for each in findings):
        raise typer.Exit(1)
