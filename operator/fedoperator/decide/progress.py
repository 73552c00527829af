"""Policy: the facts that become conditions of a job under way: aggregator, quorum, progress, suspension."""

from fedapi import names
from fedapi.wire.secureround import SecureSettings
from fedoperator.decide import anomalies, early, failures, pending, podless, refused, store
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, Trouble
from fedoperator.decide.reasons import Reason
from fedoperator.decide.sites import out_of_reach
from fedoperator.decide.view import PodView

KEYS_REPLACED = (
    "the operator's keys were lost and made anew, so the job's Secrets, too: its aggregator and its training Jobs are "
    "started again with them; what a site did in this round is lost"
)


def _first_trouble(context: JobContext, pods: tuple[PodView, ...]) -> Trouble | None:
    found = (pending.trouble(context, pod) for pod in pods)
    return next((trouble for trouble in found if trouble), None)


def aggregator_fact(context: JobContext) -> Fact:
    """The AggregatorReady condition."""
    if context.spec.suspend:
        return Fact("False", Reason.SUSPEND_REQUESTED, "spec.suspend is true")
    blocked = refused.hub(context)
    if blocked:
        return Fact("False", blocked.reason, blocked.message)
    if not context.restored:
        return Fact("False", Reason.RESTORING, "the aggregator starts when the backup is restored")
    trouble = store.lost(context) or early.init(context)
    if context.aggregator_ready and trouble is None:
        return Fact("True", Reason.READY, "the aggregator answers")
    trouble = trouble or podless.aggregator(context) or _first_trouble(context, context.aggregator_pods)
    trouble = trouble or failures.aggregator_failure(context)
    if trouble:
        return Fact("False", trouble.reason, trouble.message)
    return Fact("False", Reason.STARTING, "the aggregator is starting")


def quorum_fact(context: JobContext) -> Fact:
    """The QuorumReached condition: about the newest closed round, so that it does not flap within each."""
    status = context.status.round
    if status is not None and status.attempt > 1:
        times, why = status.attempt - 1, status.last_failure
        if why in ("", "QuorumNotReached"):
            message = f"round {status.current} ended without quorum {times} times: see status.clients"
            return Fact("False", Reason.QUORUM_MISSED, message)
        message = f"{times} attempts of round {status.current} came to nothing, the last by {why}: see status.clients"
        return Fact("False", Reason.ATTEMPT_FAILED, message)
    if status is not None and status.committed > 0:
        return Fact("True", Reason.QUORUM_REACHED, "the last round was committed")
    return Fact("Unknown", Reason.NO_ROUND_YET, "no round has been closed yet")


def suspended_fact(context: JobContext) -> Fact:
    """The Suspended condition."""
    if context.spec.suspend:
        return Fact("True", Reason.SUSPEND_REQUESTED, "spec.suspend is true: pods are freed, the state is kept")
    return Fact("False", Reason.NOT_SUSPENDED, "spec.suspend is false")


def in_rounds(context: JobContext) -> bool:
    """Whether the first round has been planned."""
    return context.status.round is not None and context.status.round.current > 0


def _anybody_trains(context: JobContext) -> bool:
    return any(pod.phase != "Pending" for pod in context.training_pods)


def _stuck(context: JobContext) -> Trouble | None:
    """A pod that has been pending too long and holds the job up: the hub's always, a site's before the first round.

    With training.lifetime Round, a round begins before its pods do: there a site's does while no site's pod runs.
    """
    roles = {names.ROLE_AGGREGATOR}
    if not context.initialized:
        roles |= {names.ROLE_INIT, names.ROLE_RESTORE}
    if not in_rounds(context) or (context.by_round and not _anybody_trains(context)):
        roles.add(names.ROLE_TRAINER)
    pods = sorted(
        (pod for role in roles for pod in context.pods.get(role, ())), key=lambda pod: (pod.created, pod.name)
    )
    found = (pending.trouble(context, pod) for pod in pods)
    told = (*podless.stuck(context, roles), *found)
    return next((trouble for trouble in told if trouble and trouble.overdue), None)


def _able(context: JobContext) -> int:
    """Sites that can take part in a round, or still do: a site that is paused finishes the round under way."""
    free = (site.name for site in context.trainees if not site.barred or context.in_round(site.name))
    out = context.lacking_jobset | anomalies.suspended(context)
    fit = (name for name in free if name not in out)
    able = sum(failures.site_failure(context, name) is None and early.training(context, name) is None for name in fit)
    return anomalies.fit_at_most(context, able)


def _out_of_reach(context: JobContext) -> Fact | None:
    """That what the strategy needs, or a quorum which is a count, can never be reached with the sites that match and are not paused or barred."""
    quorum = context.spec.round.quorum
    suspended = anomalies.suspended(context)
    free = sum(
        (not site.barred or context.in_round(site.name)) and site.name not in suspended for site in context.trainees
    )
    fit = anomalies.fit_at_most(context, free)
    least = context.spec.strategy.fewest()
    if max(fit, 1) < least:
        message = (
            f"strategy {context.spec.strategy.name} needs {least} sites, {fit} of {len(context.trainees)} matching sites can "
            "take part: add or unpause sites, or lower its byzantine"
        )
        return Fact("False", Reason.TOO_FEW_SITES, message)
    sums = _sums(context)
    if sums is not None and max(fit, 1) < sums.fewest:
        message = f"{sums.said}, {fit} of {len(context.trainees)} matching sites can take part: lower it, or add or unpause sites"
        return Fact("False", Reason.TOO_FEW_SITES, message)
    root = context.spec.strategy.root
    if root and all(site.name != root or (site.barred and not context.in_round(root)) for site in context.trainees):
        message = (
            f"no round is made without strategy.flTrust.rootClient {root!r}, which is no matching site that can take part: "
            "add or unpause it, or let the selector find it"
        )
        return Fact("False", Reason.TOO_FEW_SITES, message)
    if not out_of_reach(quorum, fit):
        return None
    message = (
        f"round.quorum is {quorum}, above the {fit} of {len(context.trainees)} matching sites that can take part:"
        " lower it, give a percentage, or add or unpause sites"
    )
    return Fact("False", Reason.TOO_FEW_SITES, message)


def _needed(context: JobContext) -> tuple[int, str]:
    """How many sites the aggregator wants before it plans a round, and what says so."""
    spec = context.spec
    quorum = spec.round.quorum if isinstance(spec.round.quorum, int) else 0
    asked = [
        (spec.clients.min_available, f"clients.minAvailable is {spec.clients.min_available}"),
        (quorum, f"round.quorum is {quorum}"),
        (least := spec.strategy.fewest(), f"strategy {spec.strategy.name} needs {least}"),
    ]
    if (sums := _sums(context)) is not None:
        asked.append((sums.fewest, sums.said))
    return max(asked, key=lambda each: each[0])


def _sums(context: JobContext) -> SecureSettings | None:
    """How updates are summed so that the aggregator sees no single one."""
    privacy = context.spec.privacy
    return privacy.sum_alone.told() if privacy and privacy.sum_alone else None


def _too_few(context: JobContext) -> Fact | None:
    """That no further round is planned before a site that has failed for good is mended."""
    able, (needed, said) = _able(context), _needed(context)
    if able >= needed:
        return None
    message = f"{able} of {len(context.trainees)} sites can take part, {said}: see status.sites"
    return Fact("False", Reason.TOO_FEW_SITES, message)


def _training(context: JobContext) -> Fact:
    if _able(context) == 0:
        return Fact(
            "False", Reason.TOO_FEW_SITES, f"none of {len(context.trainees)} sites can take part: see status.sites"
        )
    open_ = context.status.round is not None and context.status.round.selected  # its updates may be there already
    return (None if open_ else _too_few(context)) or Fact("True", Reason.TRAINING, "rounds are under way")


def _waiting(context: JobContext) -> Fact:
    needed, _ = _needed(context)
    what = "the aggregator to plan the first round" if context.by_round else f"{needed} sites to connect"
    return _too_few(context) or Fact("True", Reason.WAITING_FOR_SITES, f"waiting for {what}")


def _standing_still(context: JobContext, aggregator: Fact) -> Fact | None:
    """What somebody has to mend before the job goes on."""
    stuck = refused.hub(context) or store.lost(context) or _stuck(context) or early.init(context)
    if stuck:
        return Fact("False", stuck.reason, stuck.message)
    if (
        aggregator.status == "False"
        and aggregator.reason not in (Reason.STARTING, Reason.RESTORING)
        and failures.aggregator_failure(context)
    ):
        return Fact("False", aggregator.reason, aggregator.message)
    if context.status.trouble:
        return Fact("False", Reason.STORE_FAILING, context.status.trouble)
    return _out_of_reach(context)


def progress_fact(context: JobContext, aggregator: Fact) -> Fact:
    """The Progressing condition."""
    if context.spec.suspend:
        return Fact("False", Reason.SUSPEND_REQUESTED, "spec.suspend is true")
    if not context.trainees:
        return Fact("False", Reason.NO_MATCHING_SITES, "no site takes part: see the Accepted condition")
    if still := _standing_still(context, aggregator):
        return still
    return _under_way(context)


def _under_way(context: JobContext) -> Fact:
    """Progress of a job that nothing holds up."""
    if not context.restored:
        return Fact("True", Reason.RESTORING, "a backup is put into the store: see the Restored condition")
    if context.keys_replaced:
        return Fact("True", Reason.KEYS_REPLACED, KEYS_REPLACED)
    if not context.initialized and not in_rounds(context):
        return Fact("True", Reason.INITIALIZING, "the initial model is being made")
    return _training(context) if in_rounds(context) else _waiting(context)
