"""`fedloom keys`: the installation's keys, as an administrator of the hub changes them on the cluster.

The operator's account reads the Secret of the keys and, with the admission policies, cannot change it: this is done by a person.
"""

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fedcli.errors import CommandError

app = typer.Typer(help="The installation's keys.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `rotate-ca` a command of its own, however few there are."""


@app.command(name="rotate-ca")
def rotate_ca(
    name: Annotated[str, typer.Option(help="Secret of the keys (operator.keysSecret).")] = "fedloom-operator-keys",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the release.")] = "fedloom-system",
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Replaces the CA in three steps, a day apart, while jobs run: each call makes the step that is due."""
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load
    from fedoperator.ca_rotation import step  # noqa: PLC0415 - as cryptography does
    from fedoperator.key_material import Keys  # noqa: PLC0415

    cluster = connect(kubeconfig, context, namespace)
    found = cluster.secret(name)
    before = found.get("data") or {}
    try:
        done = step(
            Keys.from_files({file: base64.b64decode(value) for file, value in before.items()}), datetime.now(UTC)
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
