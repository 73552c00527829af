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
from rich.table import Column, Table
from rich.text import Text

from fedapi.printable import in_a_cell
from fedapi.wire import location
from fedapi.wire.location import S3, Azure, Cloud, Gcs, UnknownLocationError
from fedcli import console
from fedcli.errors import CommandError
from fedcli.storage import app
from fedcli.storeerrors import told
from fedlocal.errors import BadInputError
from fedstore import copying
from fedstore.care import azurepolicy, gcspolicy, superseded
from fedstore.care.wanted import Finding, Wanted

__all__ = ["app"]  # of storage.py, with these commands in it

_STYLES = {"kept": "green", "missing": "bold red", "cannot": "yellow", "unknown": "yellow"}

Where = Annotated[
    str, typer.Argument(metavar="LOCATION", help="The store: s3://BUCKET/PREFIX?kms-key=…, gs://… or az://….")
]
Credentials = Annotated[
    Path | None,
    typer.Option(help="Folder with a file per variable of the cloud's SDK, and ca.crt; default: what the SDK finds."),
]
Principals = Annotated[
    list[str] | None,
    typer.Option(
        "--principal",
        help="Who an aggregator or a backup is: the ARN of a role, serviceAccount:…@…, or an object id of Azure. With S3 "
        "others are kept out; with Google and Azure others are told.",
    ),
]
Administrators = Annotated[
    list[str] | None,
    typer.Option("--administrator", help="Who sets the bucket up and may delete for good, named likewise."),
]
UpdatesDays = Annotated[int, typer.Option(min=1, help="Days after which updates go that nobody deleted.")]
NoncurrentDays = Annotated[int, typer.Option(min=1, help="Days for which what was deleted can be brought back.")]
ColdDays = Annotated[int, typer.Option("--cold-after-days", min=1, help="Age at which superseded models become cold.")]
ColdClass = Annotated[
    str,
    typer.Option(help="Storage class of cold models; default: GLACIER_IR, COLDLINE, or Cool.", show_default=False),
]
Regions = Annotated[list[str] | None, typer.Option("--region", help="A region in which the bucket may be.")]
ReplicateTo = Annotated[str, typer.Option(help="ARN of a bucket of S3 to replicate to.")]
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
    cold_class: ColdClass = "",
    region: Regions = None,
    replicate_to: ReplicateTo = "",
    replication_role: ReplicationRole = "",
    may_lack: MayLack = None,
    as_json: AsJson = False,
) -> None:
    """Sets up a bucket: encryption, policy, versions, lifecycle. What is there already, and what others have set, stays."""
    place = _place(where, replicate_to)
    if principal and not administrator and isinstance(place, S3):
        raise BadInputError("--principal keeps all others out: give --administrator too, or nobody can undo it")
    if replicate_to and not replication_role:
        raise BadInputError("--replicate-to needs --replication-role, the role that copies")
    wanted = Wanted(
        principals=tuple(principal or ()), administrators=tuple(administrator or ()), kms_key=_key(place),
        updates_days=updates_days, noncurrent_days=noncurrent_days, cold_after_days=cold_after_days,
        cold_class=_class(place, cold_class), regions=tuple(region or ()), replicate_to=replicate_to,
        replication_role=replication_role,
    )  # fmt: skip
    _told(where, *_found(place, credentials, wanted, set_=True), may_lack or (), as_json=as_json)


@app.command("check")
def check(
    where: Where,
    credentials: Credentials = None,
    principal: Principals = None,
    administrator: Administrators = None,
    updates_days: UpdatesDays = 30,
    noncurrent_days: NoncurrentDays = 30,
    cold_after_days: ColdDays = 90,
    cold_class: ColdClass = "",
    region: Regions = None,
    replicate_to: ReplicateTo = "",
    may_lack: MayLack = None,
    as_json: AsJson = False,
) -> None:
    """Tells what a bucket lacks, with the options that `init` was given. Changes no setting; tries the policy by empty objects."""
    place = _place(where, replicate_to)
    wanted = Wanted(
        principals=tuple(principal or ()), administrators=tuple(administrator or ()), kms_key=_key(place),
        updates_days=updates_days, noncurrent_days=noncurrent_days, cold_after_days=cold_after_days,
        cold_class=_class(place, cold_class), regions=tuple(region or ()), replicate_to=replicate_to,
    )  # fmt: skip
    _told(where, *_found(place, credentials, wanted, set_=False), may_lack or (), as_json=as_json)


@app.command("age")
def age(
    where: Where,
    credentials: Credentials = None,
    job: Annotated[str | None, typer.Option(help="Only the FederatedJob of this name; default: all jobs.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only jobs of this namespace.")] = None,
    cold_after_days: ColdDays = 90,
    cold_class: ColdClass = "",
) -> None:
    """Marks the models that nobody asks for any more, which the bucket's lifecycle sends to its cold class. Run it now and then.

    In Azure it sends them there itself; --cold-after-days and --cold-class are for that alone.
    """
    from fedstore.care.opening import marks_of  # noqa: PLC0415 - stores are slow to load
    from fedstore.opening import open_store  # noqa: PLC0415

    place = _place(where)
    wanted = Wanted(cold_after_days=cold_after_days, cold_class=_class(place, cold_class))
    table = Table("JOB", "UID", "SUPERSEDED", "AT HAND", "CHANGED", box=None)
    with told():
        store, marks = open_store(where, credentials), marks_of(place, credentials, wanted)
        for each in copying.jobs(store):
            if job in {None, each.name} and namespace in {None, each.namespace}:
                found = superseded.models(store, each)
                changed = sum(marks.mark(key, cold=cold) for key, cold in found.items())
                cold = sum(found.values())
                table.add_row(
                    f"{each.namespace}/{each.name}", each.uid, str(cold), str(len(found) - cold), str(changed)
                )
    console.show(table)


def _place(where: str, replicate_to: str = "") -> Cloud:
    try:
        place = location.parsed(where)
    except UnknownLocationError as error:
        raise BadInputError(str(error)) from error
    if not isinstance(place, Cloud):
        raise BadInputError(f"{where}: only buckets of S3, Google and Azure are set up and checked")
    if replicate_to and not isinstance(place, S3):
        raise BadInputError(
            f"--replicate-to is for S3: where copies of {where} are was decided when it was made, and the table tells it"
        )
    if isinstance(place, S3) and place.kms_key and not place.endpoint and not place.kms_key.startswith("arn:"):
        raise BadInputError(f"kms-key={place.kms_key}: give the key's ARN, since policies of Amazon compare that")
    return place


def _key(place: Cloud) -> str:
    """Of S3; the other clouds' adapters take it from the place."""
    return place.kms_key if isinstance(place, S3) else ""


def _class(place: Cloud, asked: str) -> str:
    """Of cold models: one that can be read at once, since a rollback asks for them."""
    if isinstance(place, Azure) and asked and asked not in azurepolicy.AT_ONCE:
        raise BadInputError(
            f"--cold-class {asked}: one of {', '.join(azurepolicy.AT_ONCE)}; Archive is not read at once"
        )
    match place:
        case S3():
            return asked or Wanted.cold_class or ""
        case Gcs():
            return asked or gcspolicy.COLD_CLASS
        case Azure():
            return asked or azurepolicy.COLD_CLASS


def _found(place: Cloud, credentials: Path | None, wanted: Wanted, *, set_: bool) -> tuple[list[Finding], str]:
    """What there is, and what is left to do by hand."""
    from fedstore.care.opening import care_of  # noqa: PLC0415 - stores are slow to load

    with told():
        care = care_of(place, credentials, wanted)
        return list(care.init() if set_ else care.check()), care.by_hand() if set_ else ""


def _told(where: str, findings: list[Finding], by_hand: str, may_lack: Iterable[str], *, as_json: bool) -> None:
    allowed = set(may_lack)
    if as_json:
        content = {"location": where, "findings": [asdict(each) for each in findings]}
        typer.echo(json.dumps(content | ({"byHand": by_hand} if by_hand else {}), indent=1))
    else:
        table = Table(Column("REQUIREMENT", no_wrap=True), "STATE", "REMARK", box=None)
        for each in findings:
            table.add_row(each.what, Text(each.state, style=_STYLES[each.state]), Text(in_a_cell(each.told)))
        console.out().print(table)
        if by_hand:
            typer.echo(f"\nWhat is not set from here, unless it is so already:\n{by_hand}")
    if unknown := allowed - {each.what for each in findings}:
        raise CommandError(f"--may-lack {min(unknown)!r} is not one of {', '.join(each.what for each in findings)}")
    if any(each.state != "kept" and each.what not in allowed for each in findings):
        raise typer.Exit(1)
