"""The commands of `fedloom`: options in, exit code out. Called by __main__.py.

Exit codes of `run`: 0 Complete, 1 Failed, 2 bad input (nothing was done), 130 interrupted.
"""

import asyncio
from datetime import UTC, datetime
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fedapi.printable import printable
from fedapi.wire.message import ObjectRef
from fedcli import (
    backup,
    console,
    evaluate,
    history,
    issued,
    keys,
    ledger,
    modelcard,
    registry,
    release,
    releasegate,
    site,
    withdraw,
)
from fedcli import result as results
from fedcli.display import display
from fedcli.errors import CommandError
from fedcli.summary import summary
from fedlocal import records
from fedlocal.errors import BadInputError
from fedlocal.intake import Request, Trainers
from fedlocal.manifests import Manifests, load
from fedlocal.runner import run as run_locally
from fedlocal.statefolder import DEFAULT_WORKDIR, StateFolder

CODES = {"Complete": 0, "Failed": 1, "Stalled": 1, "Suspended": 2, "Interrupted": 130}

app = typer.Typer(
    help="Federated training: on this machine, or on a cluster with the Fedloom operator.",
    no_args_is_help=True,
    add_completion=False,
)
model_app = typer.Typer(help="Trained models.", no_args_is_help=True)
app.add_typer(model_app, name="model")
store_app = typer.Typer(help="Where models and records are kept.", no_args_is_help=True)
app.add_typer(store_app, name="store")
app.add_typer(issued.app, name="storage")
app.add_typer(backup.app, name="backup")
app.add_typer(registry.app, name="registry")
app.add_typer(keys.app, name="keys")
app.add_typer(site.app, name="site")
app.add_typer(ledger.app, name="ledger")

WorkdirOption = Annotated[Path, typer.Option(help="Where runs keep their state, a folder per job.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Only the FederatedJob of this name.")]
NamespaceOption = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job on the cluster.")]
KubeconfigOption = Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")]
StoreJobArgument = Annotated[str | None, typer.Argument(help="Name of the FederatedJob.")]
ClaimOption = Annotated[str | None, typer.Option(help="Instead of JOB: a store's PersistentVolumeClaim on a cluster.")]
CredentialsOption = Annotated[
    Path | None,
    typer.Option(
        help="Of a job in a bucket: a folder with a file per variable of the cloud's SDK; default: the SDK's own."
    ),
]
ImageOption = Annotated[str | None, typer.Option(help="With --claim: an image that has `python`, to read with.")]
ContextOption = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]


@app.command()
def run(
    path: Annotated[Path, typer.Argument(help="Manifest file or folder.")],
    workdir: WorkdirOption = DEFAULT_WORKDIR,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget the job's state and begin anew.")] = False,
    job: JobOption = None,
    result: Annotated[Path | None, typer.Option(help="File for the result as JSON.")] = None,
    trainers: Annotated[
        Trainers, typer.Option(help="own: a process per site; shared: few that serve all; auto: shared for many sites.")
    ] = "auto",
) -> None:
    """Runs the FederatedJobs of a folder here, without a cluster. Run again to resume."""
    manifests = load(path)
    jobs = manifests.job(job)
    if result and len(jobs) > 1:
        raise BadInputError(f"--result takes one job, and {path} has {len(jobs)}: add --job NAME")
    _notes(manifests)
    if result:
        results.check_writable(result)
    worst = 0
    for document in jobs:
        code = _run_one(Request(manifests, document, workdir, fresh, trainers), result)
        worst = max(worst, code)
        if code == CODES["Interrupted"]:
            break  # who stops one job of a folder wants the others no more than it
    raise typer.Exit(worst)


def _run_one(request: Request, result: Path | None) -> int:
    screen = console.out()
    with display(screen, request.manifests.workers()) as shown:
        ending = asyncio.run(run_locally(request, shown.show))
    content = results.result(ending.job, ending.seconds)
    for line in summary(request.job, ending, request, content):
        screen.print(printable(line), markup=False)
    if result:
        results.write(result, content)
    return CODES[ending.phase]


@app.command()
def validate(path: Annotated[Path, typer.Argument(help="Manifest file or folder.")]) -> None:
    """Checks manifests as the API server would, without running anything."""
    manifests = load(path)
    _notes(manifests)
    console.out().print(
        f"{path}: {len(manifests.jobs)} FederatedJobs and {len(manifests.clients)} FLClients are valid", markup=False
    )


@app.command()
def rounds(
    job: Annotated[str | None, typer.Argument(help="Name of the job; default: the only one.")] = None,
    workdir: WorkdirOption = DEFAULT_WORKDIR,
) -> None:
    """Where the time of each committed round of a local run went."""
    times = records.rounds(records.state_of(workdir, job))
    table = Table("ROUND", "SITES", "SECONDS", "SLOWEST TRAINING", "OVERHEAD", box=None)
    for time in times:
        table.add_row(
            str(time.round),
            str(time.sites),
            *(f"{value:.3f}" for value in (time.wall_s, time.slowest_training_s, time.overhead_s)),
        )
    console.show(table)
    if times:
        console.out().print(f"median overhead after the first round: {records.overhead_s(times):.3f} s")


app.command("history")(history.history)
model_app.command("card")(modelcard.card)
for _command in (release.approver, release.approve, release.reject):
    model_app.command(_command.__name__)(_command)
app.command("evaluate")(evaluate.evaluate)
app.command("withdraw")(withdraw.withdraw)


@app.command("result")
def cluster_result(
    job: Annotated[str, typer.Argument(help="Name of the FederatedJob.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: standard output.")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """The result of a job on a cluster, as JSON in the form that `run --result` writes."""
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load

    content = results.result(connect(kubeconfig, context, namespace).job(job))
    if output:
        results.check_writable(output, "--output")
        results.write(output, content, "--output")
    else:
        typer.echo(results.text(content), nl=False)


@model_app.command("pull")
def pull(
    job: StoreJobArgument = None,
    claim: ClaimOption = None,
    image: ImageOption = None,
    round_: Annotated[
        int | None, typer.Option("--round", min=0, help="A committed round; default: the last. 0 is the initial model.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; default: NAME.safetensors.")] = None,
    exchanged: Annotated[
        bool,
        typer.Option(
            "--exchanged",
            help="The tensors that travel alone: adapters without the frozen model that they belong to. Default: the whole "
            "model, with what stays at the sites as it was in the beginning.",
        ),
    ] = False,
    credentials: CredentialsOption = None,
    workdir: Annotated[Path | None, typer.Option(help="Of a local run; default: the job is on a cluster.")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Fetches a committed model and checks its SHA-256; with --claim also when the job is deleted."""
    _check_place(job, claim, image, workdir)
    target = output or Path(f"{job or claim}.safetensors")
    if not target.absolute().parent.is_dir():
        raise CommandError(f"{target}: the folder {target.parent} does not exist: make it, or give another --output")
    results.check_writable(target, "--output")
    if workdir is not None:
        state = records.state_of(workdir, job)
        check = partial(_check_released, state)
        digest = records.copy_model(state, target, round_, exchanged_alone=exchanged, check=check)
    else:
        from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
        from fedcli.cluster import connect  # noqa: PLC0415

        cluster = connect(kubeconfig, context, namespace)
        if claim and image:
            digest = modelreader.pull_from_claim(cluster, claim, image, target, round_, exchanged_alone=exchanged)
        else:
            digest = modelreader.pull_model(cluster, str(job), target, round_, credentials, exchanged_alone=exchanged)
    console.out().print(printable(f"{target}: {target.stat().st_size} bytes, SHA-256 {digest}"), markup=False)


def _check_released(state: StateFolder, model: ObjectRef) -> None:
    gate = releasegate.of_job(records.job_of(state), state.root)
    if gate is not None:
        store, layout = records.opened(state)
        card = store.head(layout.card)
        gate.check(model, card.data if card else None)


@model_app.command("list")
def list_models(
    job: StoreJobArgument = None,
    claim: ClaimOption = None,
    image: ImageOption = None,
    credentials: CredentialsOption = None,
    workdir: Annotated[Path | None, typer.Option(help="Of a local run; default: the job is on a cluster.")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """The committed rounds, and whether their models are kept."""
    _check_place(job, claim, image, workdir)
    if workdir is not None:
        found = records.committed(records.state_of(workdir, job))
    else:
        from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
        from fedcli.cluster import connect  # noqa: PLC0415

        cluster = connect(kubeconfig, context, namespace)
        if claim and image:
            found = modelreader.rounds_of_claim(cluster, claim, image)
        else:
            found = modelreader.rounds(cluster, str(job), credentials)
    table = Table("ROUND", "COMMITTED", "SITES", "SAMPLES", "KEPT", "BYTES", "SHA-256", box=None)
    for each in found:
        commit = each.record
        at = datetime.fromtimestamp(commit.committed_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        back, kept = commit.rolled_back_to, "yes" if each.kept else "no"
        sites, samples = (str(each.sites), str(commit.total_samples)) if back is None else (f"back to {back}", "-")
        table.add_row(str(commit.round), at, sites, samples, kept, str(commit.model.size), commit.model.sha256)
    console.show(table)
    if found and (last := found[-1].record).initial is not None:
        told = f"a round carries {last.model.size} bytes each way, the whole model has {last.initial.size}"
        console.out().print(f"{told}: the rest does not travel", markup=False)


def _check_place(job: str | None, claim: str | None, image: str | None, workdir: Path | None) -> None:
    """A job, or a volume and what to read it with."""
    if (job is None) == (claim is None) or (claim is None) != (image is None) or (claim and workdir):
        raise BadInputError("give either JOB, or --claim NAME and --image IMAGE (of a store volume on a cluster)")


@store_app.command("repair")
def repair(
    job: Annotated[
        str | None, typer.Argument(help="Name of the FederatedJob; of a local run: default the only one.")
    ] = None,
    credentials: CredentialsOption = None,
    workdir: Annotated[Path | None, typer.Option(help="Of a local run; default: the job is on a cluster.")] = None,
    namespace: NamespaceOption = None,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
) -> None:
    """Sets a damaged store's HEAD to the newest round that is whole, puts a broken ledger aside, and says what is damaged."""
    if workdir is not None:
        lines = records.repair(records.state_of(workdir, job))
    elif job is None:
        raise BadInputError("give JOB (of a cluster), or --workdir FOLDER (of a local run)")
    else:
        from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load
        from fedcli.cluster import connect  # noqa: PLC0415

        lines = modelreader.repair_store(connect(kubeconfig, context, namespace), job, credentials)
    for line in lines:
        console.out().print(printable(line), markup=False)


@app.command()
def version() -> None:
    """Prints the version."""
    typer.echo(metadata.version("fedloom"))


def _notes(manifests: Manifests) -> None:
    screen = console.err()
    for note in manifests.notes:
        screen.print(printable(f"note: {note}"), markup=False)
