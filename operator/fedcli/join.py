"""`fedloom site join`: the site's part of its enrollment. It makes the site's key here, and asks the hub to take its public half.

No cluster is needed, and nothing is sent: the request is a line that goes to the hub as the token came from it. Called again, as
after a crash, it asks for the key that is there.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from fedapi import names
from fedapi.wire.enrollment import JoinToken, MalformedEnrollmentError, fingerprints
from fedapi.wire.signing import SigningKey, UnusableKeyError
from fedcli import keyfile
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError

_FILE, _CA = Path(names.FILE_SIGNING_KEY), Path(names.FILE_CA)


def join(
    token: Annotated[
        str,
        typer.Argument(
            help="The line that the hub's `fedloom site enroll` printed; -: it is read from standard input."
        ),
    ],
    file: Annotated[Path, typer.Option(help="The site's private key: made, unless it is there.")] = _FILE,
    ca: Annotated[Path, typer.Option("--ca", help="Where the hub's CA certificates go: whom the site trusts.")] = _CA,
) -> None:
    """Makes the site's key, and prints the request that the hub's administrator approves."""
    given = _token(sys.stdin.read(20000) if token == "-" else token)  # noqa: S105 - the usual sign for it
    _keep(ca, given.authorities)
    key = _key(file)
    for line in (
        f"{file} is the private key of {given.site}: it stays at the site",
        f"{ca} has the hub's CA certificates, SHA-256 {', '.join(fingerprints(given.authorities))}",
        f"send the line below to the hub, and tell its administrator by another way, as by telephone, this key id: {key.id}",
    ):
        typer.echo(line, err=True)
    typer.echo(given.request(key))


def _token(text: str) -> JoinToken:
    try:
        given = JoinToken.of_text(text)
    except MalformedEnrollmentError as error:
        raise BadInputError(f"TOKEN: {error}") from error
    if datetime.now(UTC) >= given.not_after:
        raise CommandError(
            f"TOKEN has ended at {given.not_after.isoformat()}: ask the hub for another (and look at this clock)"
        )
    return given


def _keep(file: Path, authorities: bytes) -> None:
    """Writes the CA certificates, never in the place of others."""
    try:
        with file.open("xb") as out:
            out.write(authorities)
    except FileExistsError:
        if file.read_bytes() != authorities:
            raise CommandError(
                f"{file} has other certificates than the token: name another file by --ca, or take it away"
            ) from None
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}: name a file in a folder that is there, by --ca") from error


def _key(file: Path) -> SigningKey:
    try:
        keyfile.write(file, SigningKey.generated().pem())
    except FileExistsError:
        typer.echo(f"{file} is there: its key is asked for, and none is made", err=True)
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}: name a file in a folder that is there, by --file") from error
    try:
        return SigningKey.of_pem(file.read_bytes())
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}: it must be readable") from error
    except UnusableKeyError as error:
        raise CommandError(f"{file}: {error}, or name another file by --file") from error
