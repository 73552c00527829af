"""The state after a restart, from what the store holds: replay. Pure; called by fedaggregator.engine.

HEAD and the commits that it reaches are what happened; the newest plan of the round after it, its manifests, reports,
close and failures are what was under way. The hub's own downtime counts for nothing: deadlines begin anew.
What of that is damaged is left out: what was not committed is decided, or sent, again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.job import JobConfig
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import RecordPrivacy
from fedapi.wire.secureround import StepRecord
from fedapi.wire.signature import Signed
from fedapi.wire.site import EvaluationReport
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedapi.wire.store import CloseRecord, EvaluationRecord, FailureRecord, Head
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import (
    broadcasting,
    claims,
    closing,
    committing,
    evaluation,
    heldout,
    lines,
    participation,
    planning,
    secureresuming,
)
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.effects import Effect, Forget
from fedcore.rounds.effort import Effort
from fedcore.rounds.sites import Contribution, Site
from fedcore.rounds.state import End, Kept, Phase, Score, State

Recovered = tuple[State, tuple[Effect, ...]]


@dataclass(frozen=True)
class Damage:
    """A record that is not what was written, and is left out."""

    key: str
    what: str
    client: str = ""  # who can send it again; empty: a record of the hub's own


@dataclass(frozen=True)
class Log:
    """What the store holds of a job. Order of the tuples does not matter where it is not said."""

    head: Head
    commits: tuple[CommitRecord, ...] = ()  # reachable from HEAD, oldest first
    sites: Mapping[str, Site] = field(default_factory=dict)  # what they did in those whose participants are left out
    effort: Effort = field(default_factory=Effort)  # and how long they have trained for those
    evaluations: tuple[EvaluationRecord, ...] = ()  # bound by those commits; last, that of HEAD's model if finished
    tip_selected: int = 0
    plans: tuple[PlanRecord, ...] = ()  # of the round after HEAD, any epoch
    failures: tuple[FailureRecord, ...] = ()  # of that round
    closes: tuple[CloseRecord, ...] = ()  # of that round, by epoch
    steps: tuple[StepRecord, ...] = ()  # of exchanges in that round, by epoch
    manifests: tuple[UpdateManifest, ...] = ()  # of that round
    signed: Mapping[tuple[str, int, int], Signed] = field(default_factory=dict)  # their signatures, by site and order
    reports: tuple[EvaluationReport, ...] = ()  # on HEAD's model
    site_evaluations: tuple[SiteEvaluationRecord, ...] = ()  # outside of training, the newest of each site
    damages: tuple[Damage, ...] = ()


def recovered(
    config: JobConfig, log: Log, now: float, resumed: Callable[[State, Log, float], Recovered] | None = None
) -> Recovered:
    """The state to go on from; a fold that was under way is begun anew. `resumed`: what becomes of the round under way."""
    state = _history(State(config=config, epoch=log.head.epoch), log)
    tidy = (*_sent_again(log), *_leftovers(state, log))
    if log.head.finished is not None:
        at = log.head.finished_at or now
        end = End(log.head.finished, log.head.reason, log.head.message, at)
        return replace(state, phase=Phase.FINISHED, end=end, void=_void(log)), tidy
    failed_attempts = {record.attempt for record in log.failures}
    state = replace(
        state,
        attempt=max((1, *(failed + 1 for failed in failed_attempts), *(plan.attempt for plan in log.plans))),
        void=_void(log),
        reports=_on_tip(state, log),
    )
    if failed_attempts:
        state = closing.out_of_attempts(state, max(log.failures, key=lambda record: record.attempt), now)
    state = committing.after_commit(state, now)
    if state.phase is not Phase.WAITING or state.end is not None:
        return state, tidy
    state, effects = (resumed or _resumed)(state, log, now)
    return state, (*tidy, *effects)


def _void(log: Log) -> tuple[FailureRecord, ...]:
    return tuple(sorted(log.failures, key=lambda record: record.attempt))


def _on_tip(state: State, log: Log) -> dict[str, EvaluationReport]:
    """Reports on HEAD's model, not on one of that round which a repair went back behind."""
    tip = state.tip
    return {r.client: r for r in log.reports if tip and (r.round, r.model_sha256) == (tip.round, tip.model.sha256)}


def _sent_again(log: Log) -> tuple[Effect, ...]:
    keys = tuple(damage.key for damage in log.damages if damage.client)
    return (Forget(keys),) if keys else ()


def _leftovers(state: State, log: Log) -> tuple[Effect, ...]:
    """What the last commit made superfluous, and a process that died did not delete."""
    if state.tip is None or len(log.commits) < 2:
        return ()
    return (committing.discard(state, state.tip, log.plans),)


def newest_plan(log: Log, attempt: int) -> PlanRecord | None:
    """The plan of that attempt; of several epochs' plans the newest."""
    return max((p for p in log.plans if p.attempt == attempt), key=lambda plan: plan.epoch, default=None)


def _history(state: State, log: Log) -> State:
    state = replace(state, tip_selected=log.tip_selected, sites=log.sites, effort=log.effort, signed=log.signed)
    measured = {record.round: record for record in log.evaluations}
    for commit in log.commits:
        if commit.evaluation_sha256 is not None and state.tip is not None:
            state = replace(state, scores=_scored(state, state.tip, measured.get(state.tip.round)))
        state = replace(
            state,
            tip=commit,
            tip_sha256=log.head.commit_sha256,
            history=(*state.history, Kept.of(commit)),
            decided=committing.settled(state, commit),
            undone=committing.with_undoings(state, commit),
            effort=state.effort.with_commit(commit),
            anomalies=state.anomalies.with_newer(commit.round, commit.committed_at, commit.anomalies),
            account=state.account.with_commit(commit),
        )
        state = _with_participants(state, commit)
    state = replace(state, line=lines.line(state.history))
    for record in sorted(log.site_evaluations, key=lambda each: each.round):
        state = heldout.evaluated(state, record)
    if log.head.finished is not None and state.tip is not None:
        state = replace(state, scores=evaluation.scored(state.scores, measured.get(state.tip.round)))
    state = _with_void_updates(state, log)
    for damage in log.damages:
        if damage.client:
            text = f"{damage.key} was damaged in the store ({damage.what}): asked for again"
            state = state.with_site(damage.client, replace(state.site(damage.client), message=text[:1024]))
    return state


def _with_participants(state: State, commit: CommitRecord) -> State:
    """With what sites did in a commit after all others that are known."""
    made = {p.client: _site(p, commit, state.site(p.client).privacy) for p in commit.participants}
    found = participation.with_newer(committing.parts(state, commit), commit)
    return committing.with_part(state.with_sites(made), found)


def _with_void_updates(state: State, log: Log) -> State:
    """With what updates have told that are in no commit: those of attempts that came to nothing have left their sites, too."""
    for manifest in log.manifests:
        site = state.site(manifest.client)
        privacy, sent = claims.most_told(site.privacy, manifest.privacy), claims.last_sent(site, manifest)
        state = state.with_site(manifest.client, replace(site, privacy=privacy, sent=sent))
    return state


def did_earlier(sites: Mapping[str, Site], commit: CommitRecord, *, counts: bool) -> Mapping[str, Site]:
    """What sites did in some commits, with one that was before those. `counts`: its updates are in the last model."""
    found = {}
    known = {client: sites[client].part for client in participation.selected(commit) if client in sites}
    parts = participation.with_older(known, commit)
    for participant in commit.participants:
        here = _site(participant, commit)
        site = sites.get(participant.client) or replace(here, committed=None)
        made = site.committed or (here.committed if counts else None)
        found[participant.client] = replace(site, committed=made, privacy=claims.most_told(site.privacy, here.privacy))
    for client, part in parts.items():
        found[client] = replace(found.get(client) or sites.get(client) or Site(), part=part)
    return {**sites, **found}


def _site(participant: Participant, commit: CommitRecord, before: RecordPrivacy | None = None) -> Site:
    """What is known of a participant by that commit, which is the last that has it, and of what it told before."""
    return Site(
        last_round=commit.round,
        samples=participant.samples,
        privacy=claims.most_told(before, participant.privacy),
        committed=Contribution.of(commit, participant),
    )


def _scored(state: State, model_of: CommitRecord, record: EvaluationRecord | None) -> tuple[Score, ...]:
    """The scores with that of a committed model; without metrics where its evaluation cannot be read any more."""
    if record is None:
        return (*state.scores, Score(model_of.round, {}, model_of.model.sha256))
    return evaluation.scored(state.scores, record)


def _resumed(state: State, log: Log, now: float) -> tuple[State, tuple[Effect, ...]]:
    plan = newest_plan(log, state.attempt)
    if plan is None or state.tip is None or plan.base.sha256 != state.tip.model.sha256:
        return state, ()
    state = broadcasting.resumed(state, plan)
    attempt = _with_manifests(planning.attempt_of(state, plan, now), log, now)
    state = state.with_sites({client: claims.taken(state, manifest) for client, manifest in attempt.accepted.items()})
    close = next((c for c in reversed(log.closes) if c.attempt == plan.attempt), None)
    if attempt.secure is not None:
        return secureresuming.resumed(state, attempt, (s for s in log.steps if s.attempt == plan.attempt), close, now)
    if close is None or not attempt.accepted.keys() >= set(close.accepted):
        return replace(state, phase=Phase.COLLECTING, current=attempt), ()
    return closing.after_closing(state, replace(attempt, closed=close.accepted, lost_s=close.lost_s))


def _with_manifests(attempt: Attempt, log: Log, now: float) -> Attempt:
    plan = attempt.plan
    accepted = {
        m.client: m
        for m in sorted(log.manifests, key=lambda m: m.client)
        if (m.round, m.attempt, m.base_sha256) == (plan.round, plan.attempt, plan.base.sha256)
        and attempt.selected(m.client)
    }
    return replace(attempt, accepted=accepted, quorum_at=now if attempt.enough(accepted) else None)
