"""`fedloom evaluate`: has a committed round of a job evaluated at chosen sites, and shows what they measured. Beside commands.py.

Of a job that is under way on a cluster it sets spec.evaluation.request, which the aggregator answers in status.evaluation. One that
has ended has no sites: -o yaml prints the job that evaluates (evaluationjob.py). Of a local run it runs that job (localevaluation.py).
Exit codes: 0, 1 not all sites have answered, or the request was refused; 2 bad input.
"""

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
import yaml
from rich.table import Table

from fedapi.jsonvalue import Json
from fedapi.printable import in_a_cell, printable
from fedcli import console, evaluationjob, localevaluation
from fedcli.errors import CommandError
from fedcli.localevaluation import Evaluated
from fedcli.result import phase
from fedlocal.errors import BadInputError
from fedlocal.manifests import load

if TYPE_CHECKING:
    from fedcli.cluster import Cluster

POLL_S = 1.0
_ENDS = ("Complete", "Failed")
Form = Literal["table", "json", "yaml"]


def evaluate(
    job: Annotated[str, typer.Argument(help="Name of the FederatedJob.")],
    round_: Annotated[int, typer.Option("--round", min=0, help="A committed round whose model is kept.")],
    sites: Annotated[str | None, typer.Option(help="Names of FLClients of the job, with commas; default: all.")] = None,
    selector: Annotated[
        str | None, typer.Option("--selector", "-l", help="Labels in the place of --sites: key=value, with commas.")
    ] = None,
    output: Annotated[
        Form,
        typer.Option(
            "--output",
            "-o",
            help="table; json; yaml: evaluates nothing, but prints a job for the cluster that does, as one that has ended needs it.",
        ),
    ] = "table",
    uri: Annotated[
        str | None,
        typer.Option(help="With -o yaml: where pods find the model, if not in the job's bucket. With --sha256."),
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(help="With --uri: SHA-256 of that file, as `model pull` prints it.")
    ] = None,
    credentials: Annotated[
        Path | None,
        typer.Option(help="With -o yaml: of the job's bucket, a folder with a file per variable of the cloud's SDK."),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0, help="Seconds to wait for the answer; 0: do not wait. On a cluster.")
    ] = 3600.0,
    workdir: Annotated[Path | None, typer.Option(help="Of a local run; default: the job is on a cluster.")] = None,
    manifests: Annotated[
        Path | None,
        typer.Option(help="With --workdir: file or folder of the FLClients, as `run` had it; default: here."),
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace of the job.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Kubeconfig file; default as kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
) -> None:
    """Evaluates a committed round at sites of a job. `fedloom history` has what each site measured."""  # fmt: skip
    asked = request(round_, sites, selector, secrets.token_hex(4))
    if (uri is None) != (sha256 is None) or (uri and output != "yaml"):
        raise BadInputError(
            "--uri and --sha256 go together, and with -o yaml: they say where the model is in the job that is printed"
        )
    if workdir is not None:
        if output == "yaml":
            raise BadInputError("-o yaml is for a job on a cluster: with --workdir the round is evaluated here")
        _show_local(_local(workdir, job, asked, manifests), output)
        return
    if manifests is not None:
        raise BadInputError("--manifests goes with --workdir: on a cluster the FLClients are there")
    from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load

    cluster = connect(kubeconfig, context, namespace)
    if output == "yaml":
        given = {"uri": uri, "sha256": sha256} if uri else None
        typer.echo(yaml.safe_dump(_manifest(cluster, job, asked, given, credentials), sort_keys=False), nl=False)
        return
    if (ended := phase(cluster.job(job).get("status") or {})) in _ENDS:
        way_out = "give -o yaml for a job that evaluates the model, labels of its sites by -l, and `kubectl apply` it"
        raise CommandError(f"FederatedJob {cluster.namespace}/{job} is over ({ended}), its sites have gone: {way_out}")
    cluster.patch_job(job, {"spec": {"evaluation": {"request": asked}}})
    until = time.monotonic() + timeout_s
    while timeout_s:
        told = (cluster.job(job).get("status") or {}).get("evaluation") or {}
        if told.get("id") == asked["id"] and told["state"] != "Running":
            _show(told, output)
            return
        if time.monotonic() > until:
            raise CommandError(f"no answer within {timeout_s:g} s: see status.evaluation of {job}, which goes on")
        time.sleep(POLL_S)


def request(round_: int, sites: str | None, selector: str | None, id_: str) -> Json:
    """The value of spec.evaluation.request. What an earlier one said beside is taken away: null, in a merge patch."""
    if sites is not None and selector is not None:
        raise BadInputError("give --sites or --selector, not both")
    names = [name.strip() for name in sites.split(",") if name.strip()] if sites is not None else None
    if names == []:
        raise BadInputError("--sites names none: give names of FLClients with commas, or leave it out for all")
    pairs = [each.partition("=") for each in selector.split(",")] if selector is not None else []
    if any(not (key.strip() and equal) for key, equal, _ in pairs):
        raise BadInputError(f"--selector {selector!r}: give key=value, several with commas")
    labels = {"matchLabels": {key.strip(): value.strip() for key, _, value in pairs}} if pairs else None
    return {"round": round_, "id": id_, "clients": names, "selector": labels}


def _show(told: Json, output: Form) -> None:
    if told["state"] == "Refused":
        raise CommandError(told.get("message") or "refused")
    if output == "json":
        typer.echo(json.dumps(told, indent=1))
    else:
        table = Table("METRIC", "VALUE", box=None)
        for metric in told.get("metrics") or ():
            table.add_row(in_a_cell(metric["name"]), metric["value"])
        console.show(table)
        console.out().print(printable(f"round {told['round']}, {told['sites']} sites"), markup=False)
    if told["state"] == "Incomplete":
        raise CommandError(f"without an answer: {', '.join(told.get('missing') or ())}")


def _manifest(cluster: "Cluster", job: str, asked: Json, given: Json | None, credentials: Path | None) -> Json:
    """The job that evaluates that round."""
    if asked["clients"] is not None:
        raise BadInputError(
            "--sites: a new job selects its sites by labels: give -l, or leave both out for those that train"
        )
    from fedcli import modelreader  # noqa: PLC0415 - the Kubernetes client takes a second to load

    body = cluster.job(job)
    model = given or modelreader.initial_model(body, asked["round"], credentials)
    trains = (body["spec"].get("clients") or {}).get("selector") or {}
    return evaluationjob.manifest(body, asked["round"], model, asked["selector"] or trains)


def _local(workdir: Path, job: str, asked: Json, manifests: Path | None) -> Evaluated:
    names, labels = asked["clients"], (asked["selector"] or {}).get("matchLabels") or {}
    return localevaluation.evaluated(
        workdir,
        job,
        asked["round"],
        load(manifests or Path()),
        lambda name, its: (names is None or name in names) and labels.items() <= its.items(),
        names or [],
    )


def _show_local(done: Evaluated, output: Form) -> None:
    measured, commit = done.measured, done.commit
    if output == "json":
        sites = {name: {"samples": measured.site_samples[name], "metrics": of} for name, of in measured.sites.items()}
        said = {"round": commit.round, "model_sha256": commit.model.sha256, "metrics": measured.metrics}
        typer.echo(json.dumps({**said, "samples": measured.samples, "sites": sites}, indent=1))
    else:
        columns = sorted({name for of in (measured.metrics, *measured.sites.values()) for name in of})
        table = Table("SITE", "SAMPLES", *(in_a_cell(name.upper()) for name in columns), box=None)
        rows = [(name, measured.site_samples[name], of) for name, of in measured.sites.items()]
        for name, samples, of in (*rows, ("all, weighted", measured.samples, measured.metrics)):
            table.add_row(name, str(samples), *(f"{of[column]:.6g}" if column in of else "-" for column in columns))
        console.show(table)
        where = (
            "in the job's history" if done.recorded else "not in its history, as parts of the model stay at the sites"
        )
        console.out().print(printable(f"round {commit.round}, model {commit.model.sha256}; {where}"), markup=False)
    if done.trouble:
        raise CommandError(done.trouble)
