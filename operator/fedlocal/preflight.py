"""What would make a job wait for ever on a machine where nobody else repairs anything. Called by runner.py.

On a cluster such a job waits, says so, and goes on once somebody acts. Here the user is told before anything
starts (BadInputError), or the run stops with its state kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import ceil
from pathlib import Path

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal import memory
from fedlocal.cluster import Cluster
from fedlocal.errors import BadInputError, Problem
from fedlocal.intake import Request
from fedlocal.localnode import Node
from fedlocal.mounts import Places, missing_data
from fedlocal.shadowed import shadowed
from fedoperator.decide.decision import Event, Key, Observed
from fedoperator.decide.sites import sites
from fedoperator.desired.pool import Shape
from fedoperator.desired.training_job import training_job

STALL_S = 15.0  # longer than a killed aggregator needs to be back


def check(request: Request, observed: Observed, places: Places, *, forked: bool) -> None:
    """BadInputError with everything that cannot work. Called after the first pass, before any process."""
    problems = [
        *_unreachable_task(request, observed),
        *_too_few_sites(request, observed),
        *_quorum_too_high(request, observed),
        *_missing_data(request, observed, places),
        *_too_little_memory(request, observed, memory.free_mib(), forked=forked),
    ]
    if problems:
        raise BadInputError(problems)


def _unreachable_task(request: Request, observed: Observed) -> Iterator[Problem]:
    entrypoint = observed.job.spec.task.entrypoint
    for module in shadowed(request.manifests.folder):
        if module.name == entrypoint.partition(":")[0].partition(".")[0]:
            text = f"is {entrypoint!r}, but {module.by} comes before {module.path}: rename your module"
            yield Problem(request.job.where, "spec.task.entrypoint", text)


def _too_few_sites(request: Request, observed: Observed) -> Iterator[Problem]:
    chosen = sites(observed)
    if not chosen:
        text = f"matches none of the {len(observed.clients)} FLClients in {request.manifests.folder}: correct it or their labels"
        yield Problem(request.job.where, "spec.clients.selector", text)
        return
    able, needed = [site for site in chosen if not site.barred], observed.job.spec.clients.min_available
    if len(able) < needed and not observed.job.spec.suspend:
        text = f"is {needed}, but {len(able)} of {len(chosen)} selected sites can take part: lower it, add or unpause sites"
        yield Problem(request.job.where, "spec.clients.minAvailable", text)


def _quorum_too_high(request: Request, observed: Observed) -> Iterator[Problem]:
    able, quorum = sum(not site.barred for site in sites(observed)), observed.job.spec.round.quorum
    if isinstance(quorum, int) and 0 < able < quorum and not observed.job.spec.suspend:
        text = f"is {quorum}, but {able} selected sites can take part: lower it, give a percentage, or add or unpause sites"
        yield Problem(request.job.where, "spec.round.quorum", text)


def _too_little_memory(
    request: Request, observed: Observed, free_mib: int | None, *, forked: bool
) -> Iterator[Problem]:
    chosen = [site for site in sites(observed) if not site.barred]
    shapes = [Shape.of(site.client.spec.pool) for site in chosen]
    needed = memory.needed_mib(
        (memory.Footprint(shape.workers, shape.ranks) for shape in shapes),
        _at_once(observed, len(chosen)),
        forked=forked,
    )
    if free_mib is not None and needed > free_mib and not observed.job.spec.suspend:
        text = (
            f"{len(chosen)} sites need at least {needed} MiB of memory here, before any data, and {free_mib} MiB are free:"
            " select fewer sites (spec.clients.selector), or let only those of a round have processes"
            " (spec.training.lifetime: Round, spec.clients.policy: Random with perRound)"
        )
        yield Problem(request.job.where, "spec.clients", text)


def _at_once(observed: Observed, eligible: int) -> int:
    """Sites that have processes at a time."""
    spec = observed.job.spec
    drawn = spec.clients.per_round or eligible * Decimal(spec.clients.fraction or 1)
    return ceil(drawn) if spec.training.lifetime == "Round" else eligible


def pods(observed: Observed) -> Iterator[tuple[str, Json]]:
    """Each site with a training pod of it, as its Job will make them."""
    for site in sites(observed):
        job = training_job(observed.job, site.client, observed.settings.cluster_domain)
        yield site.name, {"metadata": job["metadata"], "spec": job["spec"]["template"]["spec"]}


def stand_ins(request: Request, observed: Observed, node: Node) -> list[Event]:
    """What the sites' pools ask for and this machine lacks."""
    pools = {d.body["metadata"]["name"]: d.body["spec"]["pool"]["accelerator"] for d in request.manifests.clients}
    slices = [site.name for site in sites(observed) if pools[site.name] != site.client.spec.pool.accelerator]
    notes = [(client, "its pool asks for TPU slices of several hosts: it trains on the CPU") for client in slices]
    notes += [(client, note) for client, pod in pods(observed) for note in node.lacks(pod)]
    return [Event("Warning", "StandIn", f"site {client}: {note}") for client, note in notes]


def asks_for_gpus(observed: Observed) -> bool:
    """Whether any site does."""
    return any(site.client.spec.pool.accelerator == "GPU" for site in sites(observed))


def _missing_data(request: Request, observed: Observed, places: Places) -> Iterator[Problem]:
    for client, pod in pods(observed):
        for path, target in missing_data(pod, places):
            yield _data_problem(request, client, path, target)


def _data_problem(request: Request, client: str, path: str, target: Path) -> Problem:
    document = next(d for d in request.manifests.clients if d.body["metadata"]["name"] == client)
    volumes = document.body["spec"]["data"]["volumes"]
    index = next(i for i, v in enumerate(volumes) if v["name"] == path.removeprefix(names.PATH_DATA + "/"))
    source = "configMap.name" if "configMap" in volumes[index] else "persistentVolumeClaim.claimName"
    prepare = request.manifests.folder / "prepare.py"
    way_out = f"run `python {prepare}`, which makes it" if prepare.exists() else "put the site's data there"
    return Problem(
        document.where, f"spec.data.volumes[{index}].{source}", f"the folder {target} is not there: {way_out}"
    )


@dataclass
class Stall:
    """Notices that the job says, for longer than STALL_S, that it makes no progress."""

    _since: float | None = None

    def reason(self, cluster: Cluster, job: Key, now_s: float) -> str | None:
        """Why the job stands still, once it has for long enough."""
        conditions = cluster.objects[job]["status"].get("conditions") or ()
        stuck = next((c for c in conditions if c["type"] == "Progressing" and c["status"] == "False"), None)
        self._since = None if stuck is None else self._since if self._since is not None else now_s
        if stuck is None or self._since is None or now_s - self._since < STALL_S:
            return None
        return f"{stuck['reason']}: {stuck['message']}"

    def due_s(self, now_s: float) -> float | None:
        """Seconds until the next look, while the job stands still."""
        return None if self._since is None else max(0.1, self._since + STALL_S - now_s)
