"""`fedloom withdraw`: what a site that leaves has in a job's models, what going on without it undoes, and doing so. Beside commands.py.

The ledger is verified first, so that what is told is what happened. Exit codes: 0, 1 it cannot be done, 2 bad input.
"""

import difflib
import json
from dataclasses import asdict
from typing import Annotated

import typer

from fedapi import names
from fedapi.printable import in_a_cell
from fedcli import jobrecords, ledger
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
from fedcli.ledger import KeyOption, Place
from fedcore.ledger.entries import Entry
from fedlocal.errors import BadInputError
from fedstore.withdrawal import Contributed, Withdrawal, withdrawal

_SHOWN = 10  # other sites in the report
_MAX_ID = 63  # characters of spec.rollbackTo.id


def withdraw(
    job: JobArgument = None,
    site: Annotated[str, typer.Option(help="Name of the FLClient that withdraws.")] = "",
    apply: Annotated[
        bool,
        typer.Option("--apply", help="On a cluster: pauses the site and sets spec.rollbackTo; else it is told how."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    public_key: KeyOption = None,
    store: StoreOption = None,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Names a site's updates in the ledger, and what the job loses when it goes on from before the first of them."""
    if not site:
        raise BadInputError("give --site NAME: whose updates are meant")
    if apply and (store is not None or workdir is not None):
        raise BadInputError("--apply changes a job on a cluster: of a local run set spec.rollbackTo in its manifest")
    where = jobrecords.Where(namespace, kubeconfig, context)
    with ledger.opened(Place(job, store, workdir, credentials, where, public_key)) as opened:
        found = withdrawal(opened.store, opened.layout, site)
        entries = opened.found.entries
    _require_known(site, found.sites | _named(entries))
    numbers, ended = _numbers(entries, site), _ended(entries)
    typer.echo(
        json.dumps(_as_json(found, numbers, ended), indent=1) if as_json else "\n".join(report(found, numbers, ended))
    )
    if apply:
        _apply(job or "", where, found, ended)


def report(found: Withdrawal, numbers: dict[tuple[int, int], int], ended: bool = False) -> list[str]:
    """Lines for a person."""
    site = in_a_cell(found.client)
    if not found.updates:
        return [
            f"{site} has no update in a committed round: nothing has to be undone. Pause it, and it has none in the next ones"
        ]
    lines = [f"{site} has {len(found.updates)} updates in committed rounds:"]
    for each in found.updates:
        number = numbers.get((each.order_round, each.attempt))
        told = "in no entry" if number is None else f"entry {number} of the ledger"
        stays = "" if each.counts else ", in no model any more: the job has gone back behind it"
        lines.append(
            f"  round {each.round}: SHA-256 {', '.join(each.payloads.values())}, {each.samples} samples, {told}{stays}"
        )
    if found.back_to is None:
        return [*lines, "none of them is in the last model: nothing has to be undone"]
    others = ", ".join(f"{in_a_cell(name)} {number}" for name, number in sorted(found.others.items())[:_SHOWN])
    more = f" and {len(found.others) - _SHOWN} more sites" if len(found.others) > _SHOWN else ""
    lines.append(
        f"the models of rounds {found.undone[0]} to {found.last_round} have something of it, and so has whoever fetched one"
    )
    lines.append(
        f"going back to round {found.back_to} undoes {len(found.undone)} rounds, and in them updates of others: {others or 'none'}{more}"
    )
    if not found.kept:
        return [
            *lines,
            f"the model of round {found.back_to} is not kept (spec.storage.history.keep): a new job has to begin anew",
        ]
    if ended:
        return [*lines, _over(found)]
    return [
        *lines,
        "to do so pause the site, then set the job's spec.rollbackTo (--apply does both; what was spent of a privacy budget stays spent):",
        f"  {json.dumps({'spec': {'rollbackTo': _asked(found)}})}",
    ]


def _over(found: Withdrawal) -> str:
    return (
        f"the job has ended, and goes back no more: a new job has to begin without the site "
        f"(fedloom model pull --round {found.back_to} gives the model that has nothing of it)"
    )


def _asked(found: Withdrawal) -> dict[str, object]:
    return {"round": found.back_to, "id": rollback_id(found.client, found.last_round)}


def rollback_id(site: str, last_round: int) -> str:
    """The same for the same site and round, and another for every other, however long the site's name is."""
    plain = f"withdraw-{site}-{last_round}"
    if len(plain) <= _MAX_ID:
        return plain
    end = f"-{names.digest8(site)}-{last_round}"
    return f"withdraw-{site}"[: _MAX_ID - len(end)].rstrip("-") + end


def _named(entries: list[Entry]) -> frozenset[str]:
    """Sites that the ledger tells something of: also those whose updates were never taken."""
    ones = {each.facts.get("client") for each in entries}
    many = (each.facts.get("selected") for each in entries)
    listed = {client for some in many if isinstance(some, list) for client in some}
    return frozenset(listed.union(each for each in ones if isinstance(each, str)))


def _require_known(site: str, known: frozenset[str]) -> None:
    """A name with a letter wrong must not be told that nothing has to be undone."""
    if site in known:
        return
    close = difflib.get_close_matches(site, sorted(known), 1, 0.6)
    near = f": did you mean {in_a_cell(close[0])}?" if close else ""
    raise BadInputError(f"--site {site!r}: no such site ever took part in this job{near}")


def _ended(entries: list[Entry]) -> bool:
    """Whether training is over. What comes before `restored` is of another job."""
    kinds = [each.kind for each in entries if each.kind in {"restored", "ended"}]
    return kinds[-1:] == ["ended"]


def _numbers(entries: list[Entry], site: str) -> dict[tuple[int, int], int]:
    """By round and attempt of the order: which entry says that the site's update was accepted."""
    found = {}
    for number, each in enumerate(entries):
        round_, attempt = each.facts.get("round"), each.facts.get("attempt")
        if (
            each.kind == "accepted"
            and each.facts.get("client") == site
            and isinstance(round_, int)
            and isinstance(attempt, int)
        ):
            found[round_, attempt] = number
    return found


def _as_json(found: Withdrawal, numbers: dict[tuple[int, int], int], ended: bool) -> dict[str, object]:
    def told(each: Contributed) -> dict[str, object]:
        return {**asdict(each), "entry": numbers.get((each.order_round, each.attempt))}

    return {
        "site": found.client,
        "updates": [told(each) for each in found.updates],
        "backTo": found.back_to,
        "kept": found.kept,
        "ended": ended,
        "undone": list(found.undone),
        "others": dict(found.others),
    }


def _apply(job: str, where: jobrecords.Where, found: Withdrawal, ended: bool) -> None:
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load

    cluster = connect(where.kubeconfig, where.context, where.namespace)
    cluster.patch_client(found.client, {"spec": {"paused": True}})
    typer.echo(f"FLClient {found.client} is paused, in all jobs of its namespace")
    if found.back_to is None:
        return
    if not found.kept:
        raise CommandError(f"the model of round {found.back_to} is not kept: the job was left as it is")
    if ended:
        raise CommandError(_over(found))
    cluster.patch_job(job, {"spec": {"rollbackTo": _asked(found)}})
    typer.echo(f"spec.rollbackTo of {job} was set: status.rollback says what became of it")
