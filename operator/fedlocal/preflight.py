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
from fedapi.crd.storage import SecretRef, cloud_of
from fedapi.jsonvalue import Json
from fedapi.wire.roster import MAX_SITES
from fedapi.wire.secureround import FIELDS
from fedlocal import memory, open_files
from fedlocal.cluster import Cluster
from fedlocal.errors import BadInputError, Problem
from fedlocal.intake import Request
from fedlocal.localnode import Node
from fedlocal.mounts import Places, missing_data
from fedlocal.shadowed import shadowed
from fedoperator.decide.decision import Event, Key, Observed
from fedoperator.decide.sites import out_of_reach, selected, sites, trainees
from fedoperator.desired import hub_pod
from fedoperator.desired.pool import Shape
from fedoperator.desired.site_key import secret_name
from fedoperator.desired.training_job import training_job

NAMED_SITES = 8  # with the same note, a line each
STALL_S = 15.0  # longer than a killed aggregator needs to be back


def check(request: Request, observed: Observed, places: Places, plan: memory.Plan) -> None:
    """BadInputError with everything that cannot work. Called after the first pass, before any process."""
    problems = [
        *_unreachable_task(request, observed),
        *_number_of_sites(request, observed),
        *_quorum_too_high(request, observed),
        *_too_few_for_the_strategy(request, observed),
        *_too_few_for_a_sum(request, observed),
        *_missing_data(request, observed, places),
        *_missing_secrets(request, observed),
        *_missing_other_secrets(request, observed),
        *_too_little_memory(request, observed, plan),
        *_too_few_open_files(request, plan.sharing, open_files.most()),
    ]
    if problems:
        raise BadInputError(problems)


def _unreachable_task(request: Request, observed: Observed) -> Iterator[Problem]:
    entrypoint = observed.job.spec.task.entrypoint
    for module in shadowed(request.manifests.folder):
        if module.name == entrypoint.partition(":")[0].partition(".")[0]:
            text = f"is {entrypoint!r}, but {module.by} comes before {module.path}: rename your module"
            yield Problem(request.job.where, "spec.task.entrypoint", text)


def _number_of_sites(request: Request, observed: Observed) -> Iterator[Problem]:
    chosen = trainees(observed)
    if sites(observed) and not chosen:
        text = f"holds all {len(sites(observed))} sites out, so that none trains: narrow it, or add others"
        yield Problem(request.job.where, "spec.evaluation.heldOut.selector", text)
        return
    if not chosen:
        text = f"matches none of the {len(observed.clients)} FLClients in {request.manifests.folder}: correct it or their labels"
        yield Problem(request.job.where, "spec.clients.selector", text)
        return
    if (many := len(selected(observed))) > MAX_SITES:
        text = f"matches {many} FLClients, and a job takes at most {MAX_SITES}: narrow it, or split the sites over several jobs"
        yield Problem(request.job.where, "spec.clients.selector", text)
    able, needed = [site for site in chosen if not site.barred], observed.job.spec.clients.min_available
    if len(able) < needed and not observed.job.spec.suspend:
        text = f"is {needed}, but {len(able)} of {len(chosen)} selected sites can take part{_beside(observed)}: lower it, add or unpause sites"
        yield Problem(request.job.where, "spec.clients.minAvailable", text)


def _beside(observed: Observed) -> str:
    """Of sites that are held out, since they do not count."""
    held_out = len(sites(observed)) - len(trainees(observed))
    return f", beside {held_out} held out by spec.evaluation.heldOut.selector" if held_out else ""


def _quorum_too_high(request: Request, observed: Observed) -> Iterator[Problem]:
    able, quorum = sum(not site.barred for site in trainees(observed)), observed.job.spec.round.quorum
    if able and out_of_reach(quorum, able) and not observed.job.spec.suspend:
        text = f"is {quorum}, but {able} selected sites can take part{_beside(observed)}: lower it, give a percentage, or add or unpause sites"
        yield Problem(request.job.where, "spec.round.quorum", text)


def _too_few_for_the_strategy(request: Request, observed: Observed) -> Iterator[Problem]:
    able, spec = sum(not site.barred for site in trainees(observed)), observed.job.spec
    if able and able < (least := spec.strategy.fewest()) and not spec.suspend:
        text = f"is {spec.strategy.name}, which needs {least} sites, but {able} can take part: add or unpause sites, or lower its byzantine"
        yield Problem(request.job.where, "spec.strategy.name", text)
    if (
        (root := spec.strategy.root)
        and not spec.suspend
        and all(s.barred or s.name != root for s in trainees(observed))
    ):
        text = f"is {root!r}, which is no selected site that can take part: give one, or unpause it"
        yield Problem(request.job.where, "spec.strategy.flTrust.rootClient", text)


def _too_few_for_a_sum(request: Request, observed: Observed) -> Iterator[Problem]:
    """Where updates are summed under masks, or encrypted: who has no key has no part in it."""
    spec = observed.job.spec
    if spec.privacy is None or spec.privacy.sum_alone is None or spec.suspend:
        return
    sums, chosen = spec.privacy.sum_alone.told(), [site for site in trainees(observed) if not site.barred]
    keyed = [site for site in chosen if site.client.spec.identity and site.client.spec.identity.keys]
    if chosen and len(keyed) < sums.fewest:
        without = [site.name for site in chosen if site not in keyed]
        named = f" ({', '.join(without[:NAMED_SITES])}: no key in spec.identity.keys)" if without else ""
        text = f"{len(keyed)} of {len(chosen)} sites can take part{named}, and {sums.said}: lower it, or add sites or their keys"
        yield Problem(request.job.where, f"spec.{FIELDS[sums.scheme]}", text)


def plan(request: Request, observed: Observed, free_mib: int | None, *, forked: bool) -> memory.Plan:
    """Whether sites share trainers, and the memory that the run then needs."""
    chosen = [site.client for site in sites(observed) if not site.barred]
    shapes = [(Shape.of(client.spec.pool), client.spec.pool.accelerator != "TPU") for client in chosen]
    footprints = [memory.Footprint(shape.workers, shape.ranks, shape.ranks == 1 and able) for shape, able in shapes]
    return memory.plan(footprints, _at_once(observed, len(chosen)), free_mib, request.trainers, forked=forked)


def _too_little_memory(request: Request, observed: Observed, plan_: memory.Plan) -> Iterator[Problem]:
    if plan_.free_mib is not None and plan_.needed_mib > plan_.free_mib and not observed.job.spec.suspend:
        chosen = sum(not site.barred for site in sites(observed))
        sharing = "" if plan_.trainers else " let sites share trainers (--trainers shared),"
        text = (
            f"{chosen} sites need at least {plan_.needed_mib} MiB of memory here, before any data, and {plan_.free_mib}"
            f" MiB are free:{sharing} select fewer sites (spec.clients.selector), or let only those of a round have"
            " processes (spec.training.lifetime: Round, spec.clients.policy: Random with perRound)"
        )
        yield Problem(request.job.where, "spec.clients", text)


def _too_few_open_files(request: Request, sharing: int, most: int | None) -> Iterator[Problem]:
    needed = sharing + open_files.OTHERS
    if sharing and most is not None and needed > most:
        text = (
            f"{sharing} sites that share trainers need {needed} open files, {most} are allowed:"
            " raise the limit (ulimit -Hn), or select fewer sites (spec.clients.selector)"
        )
        yield Problem(request.job.where, "spec.clients", text)


def _at_once(observed: Observed, eligible: int) -> int:
    """Sites that have processes at a time."""
    spec = observed.job.spec
    drawn = spec.clients.per_round or eligible * Decimal(spec.clients.fraction or 1)
    drawn = min(Decimal(eligible), drawn * Decimal(spec.round.over_selection or 1))
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
    alike: dict[str, list[str]] = {}
    for client, note in notes:
        alike.setdefault(note, []).append(client)
    return [Event("Warning", "StandIn", f"{who}: {note}") for note, names_ in alike.items() for who in _whose(names_)]


def _whose(clients: list[str]) -> list[str]:
    """A line per site, or one for all where there are many."""
    if len(clients) <= NAMED_SITES:
        return [f"site {client}" for client in clients]
    return [f"sites {', '.join(clients[:3])} and {len(clients) - 3} more"]


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


def _missing_secrets(request: Request, observed: Observed) -> Iterator[Problem]:
    """Credentials that the job names, and that no manifest here holds."""
    for field, asked in _secrets(observed):
        if asked is None or asked.name in request.manifests.secrets:
            continue
        text = (
            f"is {asked.name!r}, and no Secret of that name is in {request.manifests.folder}: put its manifest there, or "
            "leave credentialsSecretRef out to use what the cloud's SDK finds on this machine"
        )
        yield Problem(request.job.where, f"{field}.credentialsSecretRef.name", text)


def _secrets(observed: Observed) -> Iterator[tuple[str, SecretRef | None]]:
    """Of stores and of the initial model, by field."""
    fields = ("spec.storage", "spec.backup.destination", "spec.restoreFrom.source")
    for field, bucket in zip(fields, hub_pod.buckets(observed.job), strict=True):
        if bucket is not None:
            yield f"{field}.{cloud_of(bucket)}", bucket.credentials_secret_ref
    if given := observed.job.spec.task.initial_model:
        yield "spec.task.initialModel", given.credentials_secret_ref


def _missing_other_secrets(request: Request, observed: Observed) -> Iterator[Problem]:
    """The same of queues, which the job and each of its sites name, and of what sites encrypt their state by."""
    events = observed.job.spec.events
    asked = []
    if events is not None:
        kind = "sqs" if events.sqs else "rabbitMQ"
        asked.append((request.job.where, f"spec.events.{kind}.credentialsSecretRef.name", events.secret))
    for document in request.manifests.clients:
        for part, field in (("events", "credentialsSecretRef"), ("entrustedState", "keySecretRef")):
            secret = (document.body["spec"].get(part) or {}).get(field) or {}
            if part != "events" or events is not None:
                asked.append((document.where, f"spec.{part}.{field}.name", secret.get("name", "")))
        if document.body["spec"].get("identity"):
            asked.append((document.where, "spec.identity", secret_name(document.body["metadata"]["name"])))
    for where, field, name in asked:
        if name and name not in request.manifests.secrets:
            says = "needs" if field == "spec.identity" else "is"
            text = (
                f"{says} {name!r}, and no Secret of that name is in {request.manifests.folder}: put its manifest there"
            )
            yield Problem(where, field, text)


def nowhere(observed: Observed) -> list[Event]:
    """That nobody can say in which region this machine is."""
    residency = observed.job.spec.storage.residency
    if not residency:
        return []
    text = f"storage.residency allows {', '.join(residency)}: of buckets that is checked, of this machine it cannot be"
    return [Event("Warning", "StandIn", text)]


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
