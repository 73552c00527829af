"""`fedloom site enroll`, `approve`, `deny`: the hub's part of a site's enrollment. The site's is join.py.

What is decided lies in the FLClient and is written at once: a token that is used leaves in the write that brings the key. On a cluster
the FLClient is changed; of a manifest in a file the change is printed. Exit codes: 0, 1 it cannot be done, 2 bad input.
"""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from fedapi import duration
from fedapi.wire.enrollment import JoinRequest, JoinToken, MalformedEnrollmentError, fingerprints
from fedcli import joining
from fedcli.enrolled import Hub, Place, Provider, Site
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)  # that a token is good for
SiteArgument = Annotated[str, typer.Argument(metavar="SITE", help="Name of the FLClient.")]
ManifestOption = Annotated[
    Path | None,
    typer.Option(help="Manifest file or folder that has the FLClient, instead of a cluster; it is not changed."),
]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the FLClient.")]
KubeconfigOption = Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


def enroll(
    name: SiteArgument,
    expires: Annotated[str, typer.Option(help="How long the site may ask, 1m to 720h.")] = "24h",
    provider: Annotated[
        Provider | None, typer.Option(help="Makes the FLClient, of this provider. Default: it is there.")
    ] = None,
    ca: Annotated[
        Path | None, typer.Option("--ca", help="The hub's CA certificates, PEM; default: those of --keys-secret.")
    ] = None,
    keys_secret: Annotated[
        str, typer.Option(help="Secret of the installation's keys (operator.keysSecret).")
    ] = "fedloom-operator-keys",  # noqa: S107 - its name
    release_namespace: Annotated[str, typer.Option(help="Namespace of the release, where that is.")] = "fedloom-system",
    manifest: ManifestOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Makes a one-time token, and prints the command by which the site joins. A token that was out before is void."""
    place = Place(manifest, namespace, kubeconfig, context)
    if manifest is not None and (ca is None or provider is not None):
        raise BadInputError("--manifest needs --ca, and takes no --provider: there is no cluster to ask, or to change")
    ends = datetime.now(UTC).replace(microsecond=0) + _lifetime(expires)
    authorities = _read(ca) if ca else Hub.of(place, release_namespace).authorities(keys_secret)
    site = Site.found(place, name) if provider is None else Site.new(place, name, provider)
    try:
        token = JoinToken.made(site.id, ends, authorities)
    except MalformedEnrollmentError as error:
        raise BadInputError(
            f"{f'--ca {ca}' if ca else f'Secret {release_namespace}/{keys_secret}'}: {error}"
        ) from error
    site.change({"enrollment": joining.opened(token)})
    for line in (
        f"CA certificates of this hub, SHA-256: {', '.join(fingerprints(authorities))}",
        f"until {ends.isoformat()} whoever has the line below may ask, once, to be {site.id}: give it to that site's owner alone",
    ):
        typer.echo(line, err=True)
    typer.echo(f"fedloom site join {token.text()}")


def approve(
    name: SiteArgument,
    request: Annotated[
        str, typer.Option(help="The line that `fedloom site join` printed; -: it is read from standard input.")
    ],
    key_id: Annotated[
        str, typer.Option(help="Key id that the site's owner told; default: you are asked whether it is that.")
    ] = "",
    manifest: ManifestOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Lets a site in: the key that it asks for becomes its own, and what it sends is taken only where that has signed it."""
    asked = _request(sys.stdin.read(20000) if request == "-" else request)
    place = Place(manifest, namespace, kubeconfig, context)
    site = Site.found(place, name)
    if asked.site == site.id and joining.is_in(site.spec, asked):
        typer.echo(f"key id {asked.key_id} is one of {site.id} already: nothing to do")
        return
    _require_approvable(asked, site)
    _compare(asked, key_id)
    site = Site.found(place, name)  # as it is now: a person took the time to compare
    _require_approvable(asked, site)
    site.change(joining.let_in(site.spec, asked.public_key))
    if site.in_manifest:  # standard output is the change alone
        text = f"nothing is changed yet: with the change above in the manifest {site.id} signs by key id {asked.key_id}, and its token is used"
        typer.echo(text, err=True)
    else:
        typer.echo(f"{site.id} signs by key id {asked.key_id} from now on; its token is used")


def deny(
    name: SiteArgument,
    manifest: ManifestOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Makes the token that is out void. A site without a key stays out until it is given another."""
    site = Site.found(Place(manifest, namespace, kubeconfig, context), name)
    if site.spec.enrollment is None or site.spec.enrollment.join_token is None:
        typer.echo(f"no token of {site.id} is out: nothing to do")
        return
    site.change({"enrollment": {"joinToken": None}})
    if site.in_manifest:
        typer.echo(
            f"nothing is changed yet: with the change above in the manifest the token of {site.id} is void", err=True
        )
    else:
        typer.echo(f"the token of {site.id} is void")


def _lifetime(text: str) -> timedelta:
    try:
        found = timedelta(seconds=duration.seconds(text))
    except (ValueError, OverflowError) as error:
        raise BadInputError(f"--expires: {error}") from error
    if not SHORTEST <= found <= LONGEST:
        raise BadInputError(f"--expires {text}: a token is good for 1m to 720h")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadInputError(f"--ca {file}: {error.strerror}: name the hub's CA certificates in PEM") from error


def _request(text: str) -> JoinRequest:
    try:
        return JoinRequest.of_text(text)
    except MalformedEnrollmentError as error:
        raise BadInputError(f"--request: {error}") from error


def _require_approvable(asked: JoinRequest, site: Site) -> None:
    if told := joining.refusal(asked, site.id, site.spec, datetime.now(UTC)):
        raise CommandError(f"the request is not approved: {told}")


def _compare(asked: JoinRequest, told: str) -> None:
    """A token may have been stolen: only the site's owner can say which key is the site's."""
    if told and told.strip().lower() != asked.key_id:
        raise CommandError(
            f"the request is of key id {asked.key_id}, and not of {told}: somebody else has the token; `fedloom site deny` it"
        )
    if not told and not _confirmed(asked):
        raise CommandError(
            "the request is not approved: compare the key id with the site's owner, by another way than the request came"
        )


def _confirmed(asked: JoinRequest) -> bool:
    typer.echo(f"{asked.site} asks for key id {asked.key_id}", err=True)
    try:
        return typer.confirm("Did the site's owner tell you that key id?", err=True)
    except typer.Abort:  # nobody is there to ask
        return False
