"""`fedloom model approver`, `approve`, `reject`: signed decisions on the release of a job's final model. Beside commands.py.

A private key stays in its file on the approver's machine. Exit codes: 0, 1 it could not be done, 2 bad input.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from fedapi import released
from fedapi.jsonvalue import Json
from fedapi.printable import printable
from fedapi.wire import release
from fedapi.wire.release import Approval, Decision
from fedapi.wire.signing import SigningKey, UnusableKeyError
from fedcli import console, jobrecords, keyfile, releasegate
from fedcli.errors import CommandError
from fedcli.jobrecords import ContextOption, CredentialsOption, KubeconfigOption, NamespaceOption, WorkdirOption
from fedcli.releasegate import Gate
from fedlocal import approvals as local
from fedlocal import records
from fedlocal.errors import BadInputError
from fedlocal.statefolder import StateFolder

KeyOption = Annotated[Path, typer.Option("--key", help="File of the approver's Ed25519 private key (PEM).")]
ApproverOption = Annotated[str, typer.Option("--approver", help="Name in spec.release.approvers.")]
JobArgument = Annotated[str, typer.Argument(help="Name of the FederatedJob.")]


def approver(
    name: Annotated[str, typer.Argument(help="Name of the approver, as the job shall call him.")],
    key: KeyOption,
) -> None:
    """Makes an approver's key unless the file is there, and prints what to put into spec.release.approvers."""
    if not key.exists():
        try:
            keyfile.write(key, SigningKey.generated().pem())
        except OSError as error:
            raise BadInputError(f"--key {key}: {error.strerror}: name a file in a folder that is there") from error
    typer.echo(f"- name: {json.dumps(name)}\n  publicKey: {_key(key).public_key}")


def approve(
    job: JobArgument,
    who: ApproverOption,
    key: KeyOption,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Approves the final model, and its card as it is in the store. Read it first: `fedloom model card`."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    _decided("Approve", job, who, key, workdir, credentials, where)


def reject(
    job: JobArgument,
    who: ApproverOption,
    key: KeyOption,
    workdir: WorkdirOption = None,
    credentials: CredentialsOption = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Rejects the final model: it is kept back, whoever else approves. A later approval by the same approver replaces that."""
    where = jobrecords.Where(namespace, kubeconfig, context)
    _decided("Reject", job, who, key, workdir, credentials, where)


class _Place(NamedTuple):
    """A job, wherever it is, and where its approvals go."""

    body: Json
    card: bytes | None
    beside: Path | None


def _decided(
    decision: Decision,
    job: str,
    who: str,
    key_file: Path,
    workdir: Path | None,
    credentials: Path | None,
    where: jobrecords.Where,
) -> None:
    with _place(job, workdir, credentials, where) as place:
        gate = releasegate.of_job(place.body, place.beside)
        if gate is None:
            raise BadInputError(f"{job} has no spec.release: nobody has to approve its model")
        model = _final(place.body)
        if place.card is None:
            raise CommandError(f"{job}: there is no model card in the store yet: wait for the end of the job")
        card = releasegate.card_digest(place.card, gate.uid, model)
        key = _key(key_file)
        _require_its_key(gate, who, key)
        gate = _with_ledger(gate, place)
        made, after = _last(gate, who, model), gate
        if made is None or (made.decision, made.card_sha256) != (decision, card):
            number = released.next_number(gate.verdict(model), gate.recorded, who)
            made = release.signed(key, gate.uid, Approval(who, decision, model, card, "", number))
            after = _put(place, gate, made, where)
    said = after.verdict(model)
    if place.beside is None and said.state == "Approved":
        said = said._replace(message=f"{said.message}; it is released when the ledger tells that (condition Released)")
    changes = "" if after is not gate else ": decided already, nothing was changed"
    for line in (
        f"{who}: {decision} model {model}, card {card}, number {made.number}{changes}",
        f"{job}: {said.message}",
        *said.notes,
    ):
        console.out().print(printable(line), markup=False)


@contextmanager
def _place(job: str, workdir: Path | None, credentials: Path | None, where: jobrecords.Where) -> Iterator[_Place]:
    if workdir is not None:
        state = records.state_of(workdir, job)
        store, layout = records.opened(state)
        found = store.head(layout.card)
        yield _Place(records.job_of(state), found.data if found else None, state.root)
        return
    from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
    from fedcli.cluster import connect  # noqa: PLC0415

    cluster = connect(where.kubeconfig, where.context, where.namespace)
    with modelreader.records(cluster, job, (releasegate.CARD,), credentials) as (readable, at):
        there = readable.head(at.card)
    yield _Place(cluster.job(job), there.data if there else None, None)


def _final(body: Json) -> str:
    status = body.get("status") or {}
    if "outcome" not in status or not status.get("model"):
        raise CommandError(f"{body['metadata']['name']} is not finished: there is no final model to decide on")
    return str(status["model"]["sha256"])


def _require_its_key(gate: Gate, who: str, key: SigningKey) -> None:
    known = {each.name: each.public_key for each in gate.approvers}
    if known.get(who) != key.public_key:
        names = ", ".join(sorted(known))
        raise BadInputError(f"--key is not that of approver {who!r} in spec.release.approvers (there are: {names})")


def _with_ledger(gate: Gate, place: _Place) -> Gate:
    """With what the ledger tells: as the status says, or, of a local run, as it is once all is told."""
    return replace(gate, recorded=local.tell(StateFolder(place.beside), gate.asked)) if place.beside else gate


def _last(gate: Gate, who: str, model_sha256: str) -> Approval | None:
    """The decision of this approver that counts."""
    return next((each for each in gate.verdict(model_sha256).counted if each.approver == who), None)


def _put(place: _Place, gate: Gate, made: Approval, where: jobrecords.Where) -> Gate:
    """The approval among the others, in the place of an earlier one of the same approver."""
    mine = released.in_spec(made).dump()
    others = [each.dump() for each in gate.asked.approvals if each.approver != made.approver]
    approvals = sorted([*others, mine], key=lambda each: str(each["approver"]))
    asked = gate.asked.model_validate({**gate.asked.dump(), "approvals": approvals})
    if place.beside is not None:
        local.tell(StateFolder(place.beside), asked)  # first: what is in the file is in the ledger
        new = place.beside / f".{releasegate.LOCAL_APPROVALS}"
        new.write_text(json.dumps(approvals, indent=1) + "\n")
        new.replace(place.beside / releasegate.LOCAL_APPROVALS)
    else:
        from fedcli.cluster import connect  # noqa: PLC0415

        metadata = place.body["metadata"]
        patch = {
            "metadata": {"resourceVersion": metadata["resourceVersion"]},
            "spec": {"release": {"approvals": approvals}},
        }
        connect(where.kubeconfig, where.context, where.namespace).patch_job(metadata["name"], patch)
    return replace(gate, asked=asked)


def _key(file: Path) -> SigningKey:
    try:
        return SigningKey.of_pem(file.read_bytes())
    except OSError as error:
        raise BadInputError(f"--key {file}: {error.strerror}: name the approver's private key") from error
    except UnusableKeyError as error:
        text = "it holds no unencrypted Ed25519 private key in PEM: make one with `fedloom model approver`"
        raise BadInputError(f"--key {file}: {text}") from error
