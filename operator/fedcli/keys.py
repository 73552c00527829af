"""`fedloom keys`: the installation's keys, as an administrator of the hub changes them on the cluster.

The operator's account reads the Secret of the keys and, with the admission policies, cannot change it: this is done by a person.
"""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedapi import duration
from fedapi.jsonvalue import Json
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError

if TYPE_CHECKING:
    from fedcli.cluster import Cluster

app = typer.Typer(help="The installation's keys.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `rotate-ca` a command of its own, however few there are."""


@app.command(name="rotate-ca")
def rotate_ca(
    name: Annotated[str, typer.Option(help="Secret of the keys (operator.keysSecret).")] = "fedloom-operator-keys",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the release.")] = "fedloom-system",
    operator: Annotated[
        str, typer.Option(help="Deployment of the operator: it says how long certificates are good.")
    ] = "fedloom-operator",
    lifetime: Annotated[
        str, typer.Option(help="How long they are good (certificates.lifetimeHours); default: as --operator says.")
    ] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Replaces the CA in three steps, a certificate's lifetime apart, while jobs run: each call makes the step that is due."""
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load
    from fedoperator.ca_rotation import step  # noqa: PLC0415 - as cryptography does
    from fedoperator.key_material import Keys  # noqa: PLC0415

    cluster = connect(kubeconfig, context, namespace)
    lived = _lifetime(lifetime) if lifetime else _set(cluster, operator)
    found = cluster.secret(name)
    before = found.get("data") or {}
    try:
        done = step(
            Keys.from_files({file: base64.b64decode(value) for file, value in before.items()}), datetime.now(UTC), lived
        )
    except ValueError as error:
        raise CommandError(f"Secret {namespace}/{name} is not one of Fedloom's keys: {error}") from error
    if done.keys is not None:
        files = {file: base64.b64encode(content).decode() for file, content in done.keys.files().items()}
        gone = dict.fromkeys(file for file in before if file not in files)
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}  # refused if somebody changed it meanwhile
        cluster.patch_secret(name, {"metadata": version, "data": files | gone})
    again = f": run this again after {done.again.isoformat(timespec='seconds')}" if done.again else ""
    typer.echo(f"{done.told}{again}")
    if done.keys is None:
        raise typer.Exit(1)


def _lifetime(text: str) -> timedelta:
    try:
        return timedelta(seconds=duration.seconds(text))
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"--lifetime: {error}") from error


def _set(cluster: "Cluster", operator: str) -> timedelta:
    """What the running operator goes by: with less, certificates of a CA that is trusted no more would still be good."""
    from fedoperator.certificates import LIFETIME  # noqa: PLC0415
    from fedoperator.settings import PREFIX  # noqa: PLC0415

    containers: list[Json] = cluster.deployment(operator)["spec"]["template"]["spec"]["containers"]
    variables = (each for container in containers for each in container.get("env") or ())
    name = f"{PREFIX}CERTIFICATE_LIFETIME_S"
    said = next((str(each.get("value")) for each in variables if each["name"] == name), None)
    try:
        return LIFETIME if said is None else timedelta(seconds=float(said))
    except (ValueError, OverflowError) as error:
        raise CommandError(f"Deployment {operator}: {name} is {said!r}: give --lifetime") from error
