"""The records of a job, wherever it is: on a cluster, in a store that one has access to, or in the folder of a local run.

Called by `fedloom history` and `fedloom storage issued`, with the options that say where. What is opened is read as a store is.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from fedapi.jsonvalue import JsonView
from fedapi.printable import printable
from fedapi.wire import location
from fedapi.wire.layout import Layout
from fedcli.storeerrors import CREDENTIALS, told
from fedlocal import records
from fedlocal.errors import BadInputError
from fedstore import copying
from fedstore.history import Readable
from fedstore.opening import open_store

JobArgument = Annotated[str | None, typer.Argument(help="Name of the FederatedJob.")]
StoreOption = Annotated[
    str | None,
    typer.Option(
        metavar="LOCATION", help=f"Read this store, without a cluster: {location.FORMS.removeprefix('give ')}."
    ),
]
WorkdirOption = Annotated[Path | None, typer.Option(help="Of a local run; default: the job is on a cluster.")]
CredentialsOption = Annotated[
    Path | None, typer.Option(help="Of a bucket: folder with a file per variable of the cloud's SDK.")
]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job.")]
KubeconfigOption = Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Opened = AbstractContextManager[tuple[Readable, Layout]]


@dataclass(frozen=True)
class Where:
    """On which cluster a job is, as kubectl's options say it."""

    namespace: str | None
    kubeconfig: Path | None
    context: str | None


def opened(
    named: Iterable[str],
    job: str | None,
    store: str | None,
    workdir: Path | None,
    credentials: Path | None,
    where: Where,
) -> Opened:
    """A job's records of these names, and where they are in what is opened. BadInputError says what has to be given."""
    if store is not None and workdir is not None:
        raise BadInputError("give --store or --workdir, not both")
    if store is not None:
        return _in_store(store, credentials, job, where.namespace)
    if workdir is not None:
        return _in_workdir(workdir, job)
    if job is None:
        raise BadInputError("give JOB (of a cluster), --store LOCATION, or --workdir FOLDER (of a local run)")
    from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
    from fedcli.cluster import connect  # noqa: PLC0415

    return modelreader.records(connect(where.kubeconfig, where.context, where.namespace), job, named, credentials)


def last_status(job: str | None, store: str | None, workdir: Path | None, where: Where) -> JsonView:
    """The job's status, where there is one to be asked; empty of a store alone."""
    if store is not None:
        return {}
    if workdir is not None:
        return records.last_status(records.state_of(workdir, job))
    if job is None:
        return {}  # `opened` says what has to be given
    from fedcli.cluster import connect  # noqa: PLC0415 - as above

    return connect(where.kubeconfig, where.context, where.namespace).job(job).get("status") or {}


@contextmanager
def _in_store(
    where: str, credentials: Path | None, job: str | None, namespace: str | None
) -> Iterator[tuple[Readable, Layout]]:
    """The one job of that name in a store."""
    with told(where, CREDENTIALS):
        store = open_store(where, credentials)
        found = [
            each for each in copying.jobs(store) if job in {None, each.name} and namespace in {None, each.namespace}
        ]
        if len(found) != 1:
            known = ", ".join(f"{each.namespace}/{each.name}-{each.uid}" for each in found) or "none"
            raise BadInputError(
                f"{where} holds not exactly one such job ({printable(known)}): give JOB and --namespace"
            )
        yield store, found[0]


@contextmanager
def _in_workdir(workdir: Path, job: str | None) -> Iterator[tuple[Readable, Layout]]:
    state = records.state_of(workdir, job)
    with told(str(state.root)):
        yield records.opened(state)
