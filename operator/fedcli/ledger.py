"""`fedloom ledger`: verifies a job's ledger, proves what is in it, and exports it. Beside commands.py.

Nothing of it asks the hub: what is read are the store's objects, and what is believed is the public key that is given. Exit
codes: 0, 1 it is broken, or a proof does not hold, 2 bad input.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from fedapi.crd.ledger import LedgerStatus
from fedapi.jsonvalue import Json
from fedapi.printable import printable
from fedapi.wire.layout import Layout
from fedapi.wire.ledger import Anchor
from fedapi.wire.message import NewerRecordError
from fedcli import jobrecords, ledgerapprovals, ledgersums, sitekeys, volumerecords
from fedcli.errors import CommandError
from fedcli.jobrecords import (
    ContextOption,
    CredentialsOption,
    JobArgument,
    KubeconfigOption,
    NamespaceOption,
    StoreOption,
    WorkdirOption,
)
from fedcli.sitekeys import SiteKeysOption
from fedcore.ledger import merkle, note
from fedcore.ledger.entries import Entry
from fedcore.ledger.note import MalformedNoteError, Verifier, WrongSignatureError
from fedcore.ledger.tiles import CHECKPOINT
from fedlocal.errors import BadInputError
from fedstore import history, ledgeraudit, ledgers
from fedstore.errors import HistoryDamagedError
from fedstore.history import Readable
from fedstore.ledgeraudit import Verified
from fedstore.ledgers import LedgerBrokenError

app = typer.Typer(help="The signed record of what a job did.", no_args_is_help=True)
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--public-key", help="Whose signature it must carry, NAME+ID+BASE64; default: status.ledger.publicKey."
    ),
]
_PROOF = "fedloom ledger proof, version 1"


@dataclass(frozen=True)
class Opened:
    """A ledger that was verified, and where it is."""

    store: Readable
    layout: Layout
    verifier: Verifier
    found: Verified
    compared: bool  # with the job's status

    @property
    def node(self) -> merkle.Node:
        """Nodes of its tree."""
        return ledgers.nodes(self.store, self.layout, self.found.checkpoint.size)


@dataclass(frozen=True)
class Place:
    """Where the ledger is, as the options say it."""

    job: str | None
    store: str | None
    workdir: Path | None
    credentials: Path | None
    where: jobrecords.Where
    public_key: str | None


@app.command()
def verify(
    job: JobArgument = None,
    public_key: KeyOption = None,
    site_keys: SiteKeysOption = None,
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Reads all of it: signature, tree, entries, and that each committed round is bound to it. Names the first broken entry."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    with opened(Place(job, store, workdir, credentials, where, public_key)) as ledger:
        found = ledger.found
        kinds = ", ".join(f"{number} {kind}" for kind, number in sorted(found.kinds.items()))
        bound = "no committed round is bound to it"
        if found.commits:
            bound = f"{found.commits} committed rounds are bound to it, from round {found.first_round} on"
        typer.echo(f"{found.checkpoint.origin}: whole, {found.checkpoint.size} entries ({printable(kinds)})")
        typer.echo(f"root {found.checkpoint.root.hex()}, signed by {ledger.verifier}")
        typer.echo(f"{bound}; {'' if ledger.compared else 'not '}compared with the job's status")
        if said := found.restarted:
            typer.echo(printable(_restarted(said)))
        for line in (*ledgersums.told(found.sums), *ledgerapprovals.told(found.entries)):
            typer.echo(printable(line))
        if site_keys is not None:
            typer.echo(sitekeys.proved(ledger.store, ledger.layout, site_keys))


@app.command()
def export(
    job: JobArgument = None,
    public_key: KeyOption = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: the terminal.")] = None,
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Verifies it, and writes its entries as JSON lines, oldest first, each with its number."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    with opened(Place(job, store, workdir, credentials, where, public_key)) as ledger:
        lines = [
            json.dumps({"entry": number, "kind": each.kind, "at_ms": each.at_ms, **each.facts}, ensure_ascii=True)
            for number, each in enumerate(ledger.found.entries)
        ]
    text = "".join(f"{line}\n" for line in lines)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise BadInputError(f"--output {output}: {error.strerror}") from error


@app.command()
def prove(
    job: JobArgument = None,
    entry: Annotated[int | None, typer.Option(min=0, help="Prove that this entry is in it: its number.")] = None,
    since: Annotated[
        int | None, typer.Option(min=0, help="Prove that it goes on from its first so many entries.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Check the proof in this file instead; nothing else is read.")
    ] = None,
    public_key: KeyOption = None,
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Prints a proof as JSON, which --check verifies anywhere, with the public key alone."""
    if sum(each is not None for each in (entry, since, check)) != 1:
        raise BadInputError("give one of --entry NUMBER, --since SIZE, --check FILE")
    if check is not None:
        typer.echo(_checked(check, public_key))
        return
    where = jobrecords.Where(namespace, kubeconfig, context)
    with opened(Place(job, store, workdir, credentials, where, public_key)) as ledger:
        typer.echo(
            json.dumps(_inclusion(ledger, entry) if entry is not None else _consistency(ledger, since or 0), indent=1)
        )


@contextmanager
def opened(place: Place) -> Iterator[Opened]:
    """A job's ledger, once all of it was verified. CommandError names what is broken."""
    said = _status(place)  # before the store, which goes on
    named = (history.COMMIT, volumerecords.LEDGER)
    with (
        jobrecords.opened(named, place.job, place.store, place.workdir, place.credentials, place.where) as (
            store,
            layout,
        ),
        _broken(),
    ):
        verifier = _verifier(place.public_key or (said.public_key if said else None))
        known = Anchor(size=said.size, root=said.root) if said else None
        found = ledgeraudit.verified(store, layout, verifier, known=known)
        yield Opened(store, layout, verifier, found, compared=known is not None)


@contextmanager
def _broken() -> Iterator[None]:
    try:
        yield
    except (LedgerBrokenError, HistoryDamagedError, NewerRecordError) as error:
        raise CommandError(f"the ledger is broken: {error}") from error


def _status(place: Place) -> LedgerStatus | None:
    """What the job's status says of it, where there is one to be asked."""
    status = jobrecords.last_status(place.job, place.store, place.workdir, place.where)
    try:
        return LedgerStatus.model_validate(status["ledger"]) if status.get("ledger") else None
    except ValidationError as error:
        raise CommandError(f"status.ledger cannot be read: {error.errors()[0]['msg']}") from error


def _restarted(said: Entry) -> str:
    facts = said.facts
    last = (
        f"of {facts['size']} entries with the root {facts['root']}"
        if "size" in facts
        else "whose checkpoint cannot be read"
    )
    text = f"begun anew by a repair after round {facts.get('round')}: earlier rounds are bound to {facts.get('origin')}, {last}"
    return f"{text}, which was broken: {facts.get('reason')}"


def _verifier(text: str | None) -> Verifier:
    if text is None:
        raise BadInputError(
            "nobody says by whose key it must be signed: give --public-key, as status.ledger.publicKey was"
        )
    try:
        return Verifier.parsed(text)
    except MalformedNoteError as error:
        raise BadInputError(f"--public-key: {error}") from error


def _signed(ledger: Opened) -> str:
    found = ledger.store.head(ledger.layout.ledger(CHECKPOINT))
    return found.data.decode() if found else ""


def _inclusion(ledger: Opened, number: int) -> Json:
    size = ledger.found.checkpoint.size
    if number >= size:
        raise BadInputError(f"--entry {number}: the ledger has {size} entries, the last is {size - 1}")
    return {
        "proof": _PROOF,
        "entry": number,
        "content": ledger.found.entries[number].canonical().decode(),
        "hashes": _texts(merkle.inclusion(ledger.node, number, size)),
        "checkpoint": _signed(ledger),
    }


def _consistency(ledger: Opened, since: int) -> Json:
    size = ledger.found.checkpoint.size
    if since > size:
        raise BadInputError(f"--since {since}: the ledger has {size} entries")
    return {
        "proof": _PROOF,
        "since": since,
        "root": merkle.root(ledger.node, since).hex(),
        "hashes": _texts(merkle.consistency(ledger.node, since, size)),
        "checkpoint": _signed(ledger),
    }


def _texts(hashes: list[bytes]) -> list[str]:
    return [base64.b64encode(each).decode() for each in hashes]


def _checked(path: Path, public_key: str | None) -> str:
    """What a proof proves. CommandError where it does not hold."""
    verifier = _verifier(public_key)
    try:
        said = json.loads(path.read_bytes())
        hashes = [base64.b64decode(each, validate=True) for each in said["hashes"]]
        at = note.opened(said["checkpoint"].encode(), verifier)
        where = f"the ledger {at.origin} of {at.size} entries with the root {at.root.hex()}"
        if "entry" in said:
            number, content = int(said["entry"]), said["content"].encode()
            if merkle.is_included(merkle.leaf_hash(content), number, at.size, hashes, at.root):
                return f"the proof holds: entry {number} of {where} is {printable(said['content'])}"
        elif merkle.is_consistent(int(said["since"]), bytes.fromhex(said["root"]), at.size, at.root, hashes):
            return f"the proof holds: {where} goes on from {said['since']} entries with the root {said['root']}"
    except WrongSignatureError as error:
        raise CommandError(f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise BadInputError(
            f"--check {path}: it is no proof of `fedloom ledger prove` ({type(error).__name__})"
        ) from error
    raise CommandError(f"{path}: the proof does not hold")
