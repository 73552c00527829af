"""`fedloom evaluate --workdir`: has a committed round of a local run evaluated at sites of its folder, by a job that only evaluates.

That job is run beside the other one, in `<workdir>/.evaluations`, and goes when it is complete. What it measured is shown, and becomes
a part of the other one's history, as if its aggregator had asked for it. Called by evaluate.py.
"""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fedapi import names
from fedapi.crd.clients import Selector
from fedapi.jsonvalue import Json
from fedapi.wire.commit import CommitRecord
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcli import console, evaluationjob
from fedcli.display import display
from fedcli.errors import CommandError
from fedcli.storeerrors import told
from fedlocal import records, statefolder
from fedlocal.errors import BadInputError, Problem
from fedlocal.intake import Request
from fedlocal.manifests import Document, Manifests, namespace
from fedlocal.runner import Ending, run
from fedlocal.statefolder import StateFolder
from fedlocal.validation import checked
from fedoperator.decide.sites import matches
from fedstore import historyrows
from fedstore.errors import AlreadyExistsError
from fedstore.historyrows import Measured

_FOLDER = ".evaluations"
Choice = Callable[[str, Json], bool]  # of a site, by its name and its labels


@dataclass(frozen=True)
class Evaluated:
    """What the sites measured, and whether it is in the history of the job."""

    commit: CommitRecord
    measured: Measured
    recorded: bool
    trouble: str  # why not all have; empty: they have


def evaluated(
    workdir: Path, job: str | None, round_: int, manifests: Manifests, chosen: Choice, named: list[str]
) -> Evaluated:
    """Evaluates the model of that round at the job's sites that are chosen. `named`: those that must be among them."""
    state = records.state_of(workdir, job)
    with statefolder.locked(state.root):
        record, commit = state.read() or {}, records.commit(state, round_)
        sites = _chosen(manifests, record, chosen, named)
        with _model(state, commit) as (folder, model):
            body = _body(record, model)
            request = Request(replace(manifests, clients=tuple(sites)), body, folder, fresh=True)
            measured, trouble = _measured(request)
        fits = not (record["spec"].get("training") or {}).get("localParameters")
        if fits:
            _record(state, commit, measured)
    return Evaluated(commit, measured, fits, trouble)


def _chosen(manifests: Manifests, record: Json, chosen: Choice, named: list[str]) -> list[Document]:
    """FLClients of the job, whether they train in it or are held out."""
    spec = record["spec"]
    selectors = [(spec.get("clients") or {}).get("selector") or {}, (spec.get("evaluation") or {}).get("selector")]
    asked = [Selector.model_validate(each) for each in selectors if each is not None]
    of_job = {
        str(document.body["metadata"]["name"]): document
        for document in manifests.clients
        if namespace(document) == record["metadata"]["namespace"]
        and any(matches(each, _labels(document)) for each in asked)
    }
    there = ", ".join(of_job) or "none"
    if unknown := [name for name in named if name not in of_job]:
        raise BadInputError(
            f"--sites: {', '.join(unknown)}: no FLClient of the job in {manifests.folder}: it has {there}"
        )
    found = [document for name, document in of_job.items() if chosen(name, _labels(document))]
    if not found:
        raise BadInputError(
            f"no FLClient of the job in {manifests.folder} is selected (it has {there}): give others, or --manifests"
        )
    return found


def _labels(document: Document) -> Json:
    return document.body["metadata"].get("labels") or {}


@contextmanager
def _model(state: StateFolder, commit: CommitRecord) -> Iterator[tuple[Path, Json]]:
    """A folder for the job that evaluates, with the model in it, as its task.initialModel. What is left of a job that did not end well stays."""
    folder = state.root.parent / _FOLDER
    file = folder / f"{state.root.name}.safetensors"
    if any(map(str.isspace, str(file))):
        raise BadInputError(
            f"--workdir: {folder} has blanks in it, and the model's path may have none: give another name to the folder"
        )
    folder.mkdir(exist_ok=True)
    try:
        digest = records.copy_model(state, file, commit.round)
        yield folder, {"uri": str(file), "sha256": digest}
    finally:
        file.unlink(missing_ok=True)
        with suppress(OSError):  # jobs that did not end well, or others', are still there
            folder.rmdir()


def _body(record: Json, model: Json) -> Document:
    metadata = {name: record["metadata"][name] for name in ("name", "namespace")}
    made = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "metadata": metadata}
    full, findings = checked({**made, "spec": evaluationjob.spec(record["spec"], model, {}, places=False)})
    document = Document(Path("the job that evaluates"), full)
    if findings:
        raise BadInputError([Problem(document.where, path, message) for path, message in findings])
    return document


def _measured(request: Request) -> tuple[Measured, str]:
    """Of that job, run to its end; and why it did not end well."""
    with display(console.err(), request.manifests.workers()) as shown:
        ending = asyncio.run(run(request, shown.show))
    trouble = _trouble(request, ending)
    rows = []
    with suppress(BadInputError), told(str(request.state.root)):  # of a store that is not there yet
        rows = historyrows.rows(*records.opened(request.state))
    if not rows or rows[0].evaluation is None:
        raise CommandError(trouble)
    if not trouble:
        shutil.rmtree(request.state.root)
        (request.workdir / f".{request.name}.lock").unlink(missing_ok=True)
    return rows[0].evaluation, trouble


def _trouble(request: Request, ending: Ending) -> str:
    match ending.phase:
        case "Complete":
            return ""
        case "Interrupted":
            return "stopped: evaluate again, which begins anew"
    return f"{ending.message or f'the job that evaluates ended as {ending.phase}'}; logs: {request.state.logs}"


def _record(state: StateFolder, commit: CommitRecord, measured: Measured) -> None:
    """As the job's aggregator records what it has asked for: the first of a site and model counts."""
    with told(str(state.root)):
        store, layout = records.opened(state)
        trained = {client for row in historyrows.newest_first(store, layout) for client in row.participants}
        for client, metrics in measured.sites.items():
            said = SiteEvaluationRecord(
                job_uid=layout.uid,
                round=commit.round,
                client=client,
                model_sha256=commit.model.sha256,
                samples=measured.site_samples[client],
                metrics=metrics,
                held_out=client not in trained,
                at=time.time(),
            )
            with suppress(AlreadyExistsError):
                store.put_once(
                    layout.site_evaluation(client, commit.round, commit.model.sha256), said.sealed().canonical()
                )
