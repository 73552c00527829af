"""`fedloom ledger verify --site-keys`: the sites' public keys from manifests, and what their signatures prove. Beside ledger.py."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from fedapi.crd.flclient import FLClient
from fedapi.printable import printable
from fedapi.wire.layout import Layout
from fedapi.wire.signature import SiteKey
from fedcli.errors import CommandError
from fedlocal import manifests
from fedlocal.errors import BadInputError
from fedoperator.desired.site_key import public_keys
from fedstore import sitesignatures
from fedstore.history import Readable

SiteKeysOption = Annotated[
    Path | None,
    typer.Option(
        "--site-keys",
        help="Also verify each counted update's signature, by spec.identity.keys of the FLClients in this file or folder. "
        "Ask the sites for their keys, not the hub.",
    ),
]
_NAMED = 20  # sites without a key


def keys(path: Path) -> Mapping[str, tuple[SiteKey, ...]]:
    """By site. BadInputError where there are none."""
    clients = [FLClient.parse(each.body) for each in manifests.load(path).clients]
    found = {each.metadata.name: made for each in clients if (made := public_keys(each))}
    if not found:
        raise BadInputError(f"--site-keys {path}: no FLClient there has spec.identity.keys: name the sites' manifests")
    return found


def proved(store: Readable, layout: Layout, path: Path) -> str:
    """What to tell of the signatures. CommandError names the first update that its site has not signed."""
    found = sitesignatures.checked(store, layout, keys(path))
    if found.wrong:
        raise CommandError(f"an update is not its site's: {printable(found.wrong)}")
    left = ""
    if found.keyless:
        named = ", ".join(sorted(found.keyless)[:_NAMED]) + (", …" if len(found.keyless) > _NAMED else "")
        left = f"; {sum(found.keyless.values())} are of sites without a key in {path}: {named}"
    return printable(f"{found.verified} updates are signed by their sites{left}")
