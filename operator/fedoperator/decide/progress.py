"""Policy: the facts that become conditions of a job under way: aggregator, quorum, progress, suspension."""

from fedapi import names
from fedoperator.decide import early, failures, pending, podless, refused, store
from fedoperator.decide.facts import Fact, Trouble
from fedoperator.decide.reasons import Reason
from fedoperator.decide.scene import Scene
from fedoperator.decide.view import PodView

KEYS_REPLACED = (
    "the operator's keys were lost and made anew, so the job's Secrets, too: its aggregator and its training Jobs are "
    "started again with them; what a site did in this round is lost"
)


def _first_trouble(scene: Scene, pods: tuple[PodView, ...]) -> Trouble | None:
    found = (pending.trouble(scene, pod) for pod in pods)
    return next((trouble for trouble in found if trouble), None)


def aggregator_fact(scene: Scene) -> Fact:
    """The AggregatorReady condition."""
    if scene.spec.suspend:
        return Fact("False", Reason.SUSPEND_REQUESTED, "spec.suspend is true")
    blocked = refused.hub(scene)
    if blocked:
        return Fact("False", blocked.reason, blocked.message)
    if scene.aggregator_ready:
        return Fact("True", Reason.READY, "the aggregator holds a model and answers")
    trouble = store.lost(scene) or podless.aggregator(scene) or _first_trouble(scene, scene.aggregator_pods)
    trouble = trouble or failures.aggregator_failure(scene) or early.init(scene)
    if trouble:
        return Fact("False", trouble.reason, trouble.message)
    return Fact("False", Reason.STARTING, "the aggregator is starting or waits for the initial model")


def quorum_fact(scene: Scene) -> Fact:
    """The QuorumReached condition: about the newest closed round, so that it does not flap within each."""
    status = scene.status.round
    if status is not None and status.attempt > 1:
        message = f"round {status.current} ended without quorum {status.attempt - 1} times: see status.clients"
        return Fact("False", Reason.QUORUM_MISSED, message)
    if status is not None and status.committed > 0:
        return Fact("True", Reason.QUORUM_REACHED, "the last round was committed")
    return Fact("Unknown", Reason.NO_ROUND_YET, "no round has been closed yet")


def suspended_fact(scene: Scene) -> Fact:
    """The Suspended condition."""
    if scene.spec.suspend:
        return Fact("True", Reason.SUSPEND_REQUESTED, "spec.suspend is true: pods are freed, the state is kept")
    return Fact("False", Reason.NOT_SUSPENDED, "spec.suspend is false")


def in_rounds(scene: Scene) -> bool:
    """Whether the first round has been planned."""
    return scene.status.round is not None and scene.status.round.current > 0


def _anybody_trains(scene: Scene) -> bool:
    return any(pod.role == names.ROLE_TRAINER and pod.phase != "Pending" for pod in scene.pods)


def _stuck(scene: Scene) -> Trouble | None:
    """A pod that has been pending too long and holds the job up: the hub's always, a site's before the first round.

    With training.lifetime Round, a round begins before its pods do: there a site's does while no site's pod runs.
    """
    roles = {names.ROLE_AGGREGATOR}
    if not scene.initialized:
        roles.add(names.ROLE_INIT)
    if not in_rounds(scene) or (scene.by_round and not _anybody_trains(scene)):
        roles.add(names.ROLE_TRAINER)
    found = (pending.trouble(scene, pod) for pod in scene.pods if pod.role in roles)
    told = (*podless.stuck(scene, roles), *found)
    return next((trouble for trouble in told if trouble and trouble.overdue), None)


def _able(scene: Scene) -> int:
    """Sites that can take part in a round, or still do: a site that is paused finishes the round under way."""
    free = (site.name for site in scene.sites if not site.barred or scene.in_round(site.name))
    fit = (name for name in free if name not in scene.lacking_jobset)
    return sum(failures.site_failure(scene, name) is None and early.training(scene, name) is None for name in fit)


def _quorum_above(scene: Scene) -> Fact | None:
    """That a quorum which is a count can never be reached with the sites that match and are not paused or barred."""
    quorum = scene.spec.round.quorum
    fit = sum(not site.barred or scene.in_round(site.name) for site in scene.sites)
    if not isinstance(quorum, int) or quorum <= fit:
        return None
    message = (
        f"round.quorum is {quorum}, above the {fit} of {len(scene.sites)} matching sites that can take part:"
        " lower it, give a percentage, or add or unpause sites"
    )
    return Fact("False", Reason.TOO_FEW_SITES, message)


def _needed(scene: Scene) -> tuple[int, str]:
    """How many sites the aggregator wants before it plans a round, and the field that says so."""
    quorum, least = scene.spec.round.quorum, scene.spec.clients.min_available
    return (quorum, "round.quorum") if isinstance(quorum, int) and quorum > least else (least, "clients.minAvailable")


def _too_few(scene: Scene) -> Fact | None:
    """That no further round is planned before a site that has failed for good is mended."""
    able, (needed, field) = _able(scene), _needed(scene)
    if able >= needed:
        return None
    message = f"{able} of {len(scene.sites)} sites can take part, {field} is {needed}: see status.sites"
    return Fact("False", Reason.TOO_FEW_SITES, message)


def _training(scene: Scene) -> Fact:
    if _able(scene) == 0:
        return Fact("False", Reason.TOO_FEW_SITES, f"none of {len(scene.sites)} sites can take part: see status.sites")
    open_ = scene.status.round is not None and scene.status.round.selected  # its updates may be there already
    return (None if open_ else _too_few(scene)) or Fact("True", Reason.TRAINING, "rounds are under way")


def _waiting(scene: Scene) -> Fact:
    needed, _ = _needed(scene)
    what = "the aggregator to plan the first round" if scene.by_round else f"{needed} sites to connect"
    return _too_few(scene) or Fact("True", Reason.WAITING_FOR_SITES, f"waiting for {what}")


def _standing_still(scene: Scene, aggregator: Fact) -> Fact | None:
    """What somebody has to mend before the job goes on."""
    stuck = refused.hub(scene) or store.lost(scene) or _stuck(scene) or early.init(scene)
    if stuck:
        return Fact("False", stuck.reason, stuck.message)
    if aggregator.status == "False" and aggregator.reason != Reason.STARTING and failures.aggregator_failure(scene):
        return Fact("False", aggregator.reason, aggregator.message)
    if scene.status.trouble:
        return Fact("False", Reason.STORE_FAILING, scene.status.trouble)
    return _quorum_above(scene)


def progress_fact(scene: Scene, aggregator: Fact) -> Fact:
    """The Progressing condition."""
    if scene.spec.suspend:
        return Fact("False", Reason.SUSPEND_REQUESTED, "spec.suspend is true")
    if not scene.sites:
        return Fact("False", Reason.NO_MATCHING_SITES, "no site takes part: see the Accepted condition")
    if still := _standing_still(scene, aggregator):
        return still
    return _under_way(scene)


def _under_way(scene: Scene) -> Fact:
    """Progress of a job that nothing holds up."""
    if scene.keys_replaced:
        return Fact("True", Reason.KEYS_REPLACED, KEYS_REPLACED)
    if not scene.initialized and not in_rounds(scene):
        return Fact("True", Reason.INITIALIZING, "the initial model is being made")
    return _training(scene) if in_rounds(scene) else _waiting(scene)
