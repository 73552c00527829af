"""`fedloom registry`: tokens of sites for the registry, made from its key on the cluster. For administrators of the hub.

Whoever may read the registry's Secret may make every site's token; nothing is stored.
"""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from fedapi import names
from fedapi.jsonvalue import Json
from fedapi.wire.registry import ClientId
from fedapi.wire.tokens import heartbeat_token
from fedcli.errors import CommandError

if TYPE_CHECKING:
    from fedcli.cluster import Cluster

app = typer.Typer(help="The registry of sites.", no_args_is_help=True)
_GENERATIONS = "generations.json"


@app.callback()
def _group() -> None:
    """Keeps `token` a command of the group."""


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


def _files(cluster: "Cluster", name: str) -> dict[str, bytes]:
    found = {file: base64.b64decode(value) for file, value in (cluster.secret(name).get("data") or {}).items()}
    if missing := [file for file in (names.FILE_REGISTRY_KEY, names.FILE_CA) if not found.get(file)]:
        raise CommandError(f"Secret {cluster.namespace}/{name} lacks {', '.join(missing)}: it is not the registry's")
    return found


def _generation(config_map: Json, client_id: str) -> int:
    return int(json.loads((config_map.get("data") or {}).get(_GENERATIONS) or "{}").get(client_id, 0))
