"""`fedloom registry`: tokens of sites for the registry, made from its key on the cluster, and backups of its table.

For administrators of the hub. Whoever may read the registry's Secret may make every site's token; nothing is stored. Backups are
asked of DynamoDB itself, with the credentials of who asks: no cluster is needed for them.
"""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.registry import ClientId
from fedapi.wire.tokens import heartbeat_token
from fedcli.errors import CommandError
from fedcli.storeerrors import told

if TYPE_CHECKING:
    from fedcli.cluster import Cluster
    from fedstore.dynamobackup import TableBackups

app = typer.Typer(help="The registry of sites.", no_args_is_help=True)
_GENERATIONS = "generations.json"
_RESTORED_S = 3600.0  # that a restore is waited for; DynamoDB takes minutes for any table of sites
_TABLE = "Name of the table (registry.dynamodb.table)."
_REGION, _ENDPOINT = "Region of the table; default: the SDK's.", "URL of a DynamoDB of your own; default: Amazon's."
_FILES = "Folder with a file per variable of the SDK, and ca.crt; default: what the SDK finds itself."


@app.command()
def token(
    client_id: Annotated[str, typer.Argument(help="NAMESPACE/NAME of the FLClient that the site is, or becomes.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder for registry.token and ca.crt; default: the token is printed.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the registry: of its Secret and ConfigMap.")] = "fedloom-registry",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the release.")] = "fedloom-system",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """A site's token for the registry, of the generation that is in force."""
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load

    try:
        TypeAdapter(ClientId).validate_python(client_id)
    except ValidationError as error:
        raise CommandError(f"client id {client_id!r} must be NAMESPACE/NAME, as of an FLClient") from error
    cluster = connect(kubeconfig, context, namespace)
    files = _files(cluster, name)
    made = heartbeat_token(files[names.FILE_REGISTRY_KEY], client_id, _generation(cluster.config_map(name), client_id))
    if to is None:
        typer.echo(made)
        return
    to.mkdir(parents=True, exist_ok=True)
    (to / names.FILE_CA).write_bytes(files[names.FILE_CA])
    secret = to / names.FILE_REGISTRY_TOKEN
    secret.touch(mode=0o600)
    secret.chmod(0o600)
    secret.write_text(f"{made}\n")
    typer.echo(f"{secret} and {to / names.FILE_CA} are for {client_id} alone")


@app.command()
def backups(
    table: Annotated[str, typer.Argument(help=_TABLE)],
    region: Annotated[str, typer.Option(help=_REGION)] = "",
    endpoint: Annotated[str, typer.Option(help=_ENDPOINT)] = "",
    credentials: Annotated[Path | None, typer.Option(help=_FILES)] = None,
) -> None:
    """Backups of the table that the registry has made, newest first."""
    with told():
        found = _backups(table, region, endpoint, credentials).all()
        if not found:
            typer.echo(f"no backups of table {table} that Fedloom made are there", err=True)
        for each in found:
            made = datetime.fromtimestamp(each.made_at, UTC).isoformat(timespec="seconds")
            typer.echo(f"{each.name}  {made}  {each.bytes} bytes{'' if each.whole else '  under way'}")


@app.command()
def restore(
    table: Annotated[str, typer.Argument(help=_TABLE)],
    to: Annotated[str, typer.Option(help="Name of the table that is made of it; it must not be there.")],
    backup: Annotated[str, typer.Option(help="Name of the backup; default: the newest.")] = "",
    region: Annotated[str, typer.Option(help=_REGION)] = "",
    endpoint: Annotated[str, typer.Option(help=_ENDPOINT)] = "",
    credentials: Annotated[Path | None, typer.Option(help=_FILES)] = None,
) -> None:
    """Makes a new table of a backup, with time to live and recovery to a point in time. Nothing else is changed."""
    with told():
        found = _backups(table, region, endpoint, credentials)
        whole = [each for each in found.all() if each.whole]
        chosen = next((each for each in whole if backup in ("", each.name)), None)
        if chosen is None:
            there = ", ".join(each.name for each in whole) or "none"
            raise CommandError(f"no whole backup {backup or 'of Fedloom'} of table {table}: there are {there}")
        found.restored(chosen, to, _RESTORED_S)
    typer.echo(f"{to} holds {chosen.name}: set registry.dynamodb.table to it, and give the registry its rights there")


def _backups(table: str, region: str, endpoint: str, credentials: Path | None) -> "TableBackups":
    from fedstore.dynamobackup import TableBackups  # noqa: PLC0415 - boto3 takes its time to load

    return TableBackups.open(table, region, endpoint, credentials)


def _files(cluster: "Cluster", name: str) -> dict[str, bytes]:
    found = {file: base64.b64decode(value) for file, value in (cluster.secret(name).get("data") or {}).items()}
    if missing := [file for file in (names.FILE_REGISTRY_KEY, names.FILE_CA) if not found.get(file)]:
        raise CommandError(f"Secret {cluster.namespace}/{name} lacks {', '.join(missing)}: it is not the registry's")
    return found


def _generation(config_map: Json, client_id: str) -> int:
    return int(json.loads((config_map.get("data") or {}).get(_GENERATIONS) or "{}").get(client_id, 0))
