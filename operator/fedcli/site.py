"""`fedloom site`: a site's own key, made where the site is; the hub sees its public half alone. Enrollment is in the files beside it.

`key` is for the owners of sites: no cluster is needed. The private key goes into a file that only its owner reads, or, as the manifest of a
Secret, to the standard output, for a cluster that the site trusts; everything that may be shown goes beside it.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedapi import names
from fedcli import enrollment, join, keyfile
from fedcli.errors import CommandError

if TYPE_CHECKING:
    from fedapi.wire.signing import SigningKey

app = typer.Typer(help="Sites: their keys, and how they join.", no_args_is_help=True)
key = typer.Typer(help="The key by which a site signs what it sends.", no_args_is_help=True)
app.add_typer(key, name="key")
for _command in (enrollment.enroll, join.join, enrollment.approve, enrollment.deny):
    app.command(_command.__name__)(_command)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_FILE = Path(names.FILE_SIGNING_KEY)


@key.command()
def new(
    site: Annotated[str, typer.Argument(help="Name of the FLClient that the site is, or becomes.")],
    file: Annotated[Path, typer.Option(help="Where the private key goes; it must not be there.")] = _FILE,
    secret: Annotated[
        bool, typer.Option("--secret", help="Print it as the manifest of a Secret instead; no file is written.")
    ] = False,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="With --secret: the FLClient's; default: kubectl decides.")
    ] = "",
) -> None:
    """Makes a private key, and prints what to put into the FLClient."""
    from fedapi.wire.signing import SigningKey  # noqa: PLC0415 - `cryptography` takes its time to load

    for field, name in (("name of the site", site), *((("namespace", namespace),) if namespace else ())):
        if not _NAME.fullmatch(name):
            raise CommandError(f"{field} {name!r} must be 1 to 63 lower-case letters, digits and '-', as in Kubernetes")
    made = SigningKey.generated()
    if secret:
        typer.echo(_manifest(site, namespace, made.pem().decode()), nl=False)
    else:
        _write(file, made.pem())
        typer.echo(f"{file} is the private key of {site}: it stays at the site", err=True)
    typer.echo(_shown(made), nl=False, err=secret)


@key.command()
def show(
    file: Annotated[Path, typer.Argument(help=f"The private key, as `{_FILE}`.")] = _FILE,
) -> None:
    """Prints what to put into the FLClient for a key that is there."""
    from fedapi.wire.signing import SigningKey, UnusableKeyError  # noqa: PLC0415

    try:
        typer.echo(_shown(SigningKey.of_pem(file.read_bytes())), nl=False)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}: name the file that `fedloom site key new` wrote") from error
    except UnusableKeyError as error:
        raise CommandError(f"{file}: {error}") from error


def _write(file: Path, pem: bytes) -> None:
    try:
        keyfile.write(file, pem)
    except FileExistsError as error:
        raise CommandError(f"{file} is there: name another file, or take it away if nobody signs by it") from error
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}: name a file in a folder that is there, by --file") from error


def _shown(made: "SigningKey") -> str:
    """YAML of the FLClient's field, with the key's id as a comment."""
    return f"# key id {made.id}\nspec:\n  identity:\n    keys:\n    - publicKey: {made.public_key}\n"


def _manifest(site: str, namespace: str, pem: str) -> str:
    lines = "".join(f"    {line}\n" for line in pem.splitlines())
    where = f"  namespace: {namespace}\n" if namespace else ""
    return (
        f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: {names.SITE_KEY_SECRET_PREFIX}{site}\n{where}"
        f"stringData:\n  {names.FILE_SIGNING_KEY}: |\n{lines}"
    )
