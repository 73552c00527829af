"""Whether what a site sends belongs to what is going on: pure decisions, answered with the wire's refusal codes.

Called by the HTTP routes before anything is read, and again by the engine before anything becomes durable.
The content of an update is judged elsewhere (fedcore.tensors.tensorfile and the engine's verification).
"""

import math

from fedapi.printable import fit_for_a_name
from fedapi.wire.ciphertext import stored_bytes
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import (
    MAX_METRIC,
    MAX_METRIC_NAME,
    UPDATE,
    EvaluationReport,
    FailureReport,
    Metrics,
    Refusal,
    UpdateManifest,
    UploadRequest,
)
from fedcore.rounds import claims
from fedcore.rounds.state import Attempt, Phase, State

EXTRA_BYTES = 1 << 20  # an update may have a longer header than its base (order of names, padding), not more tensors
UPLOADS = 3  # objects of one site in one round, and one more for each attempt that failed
_TAKEN = "site {!r} has an update in round {} already: drop this one, ask next"


def stranger(state: State, client: str) -> Refusal | None:
    """Whether a site does not belong to the job."""
    if client in state.roster.by_name:
        return None
    return Refusal(code="NotInJob", message=f"site {client!r} is not in the roster of job {state.config.name!r}")


def open_attempt(state: State) -> Attempt | None:
    """The attempt that takes updates."""
    return state.current if state.phase is Phase.COLLECTING else None


def misplaced(state: State, client: str, round_: int, attempt: int) -> Refusal | None:
    """Whether (round, attempt) of a site is not what is being collected from it."""
    current = open_attempt(state)
    if current is None:
        return Refusal(code="StaleRound", message=f"no round takes updates now (round {state.round} is next)")
    plan = current.plan
    if round_ != plan.round:
        return Refusal(code="StaleRound", message=f"round {round_} is not open, round {plan.round} is: ask next")
    if attempt != plan.attempt:
        message = f"attempt {attempt} of round {round_} is over, attempt {plan.attempt} is open: ask next"
        return Refusal(code="StaleAttempt", message=message)
    if not current.selected(client):
        return Refusal(code="NotSelected", message=f"site {client!r} was not selected for round {round_}: ask next")
    return None


def unwanted(state: State, client: str, round_: int, attempt: int) -> Refusal | None:
    """Whether nothing that a site may upload for an attempt can count: a grant lives no longer than this is None."""
    refusal = misplaced(state, client, round_, attempt) or stranger(state, client)
    current = open_attempt(state)
    if refusal is None and current is not None and client in current.accepted:
        return Refusal(code="Duplicate", message=_TAKEN.format(client, round_))
    return refusal


def upload(state: State, client: str, request: UploadRequest) -> Refusal | ObjectRef:
    """Where an announced update goes, or why it does not."""
    refusal = unwanted(state, client, request.round, request.attempt)
    current = open_attempt(state)
    if refusal is not None or current is None:
        return refusal or Refusal(code="StaleRound", message="no round takes updates now")
    kem, limit = current.plan.encryption, current.plan.base.size + EXTRA_BYTES
    if kem is not None:
        limit = stored_bytes(limit, kem)
    if request.size > limit:
        message = f"size {request.size} is over {limit} bytes, which the base model allows: send its tensors only"
        return Refusal(code="TooLarge", message=message)
    key = state.layout.update(client, request.round, request.sha256, encrypted=kem is not None)
    return ObjectRef(key=key, sha256=request.sha256, size=request.size)


def crowded(state: State, client: str, others: int) -> Refusal | None:
    """Whether a site that has stored so many other updates in a round may store one more. Honest ones store one."""
    limit = UPLOADS + state.attempt - 1
    if others < limit:
        return None
    message = f"site {client!r} has stored {others} updates in this round, of which one can count: train no other"
    return Refusal(code="TooLarge", message=message)


def update(state: State, client: str, manifest: UpdateManifest) -> Refusal | UpdateManifest | None:
    """None: new and to be verified. A manifest: it was taken before (the one that counts). Else the refusal."""
    identity = _impostor(state, client, manifest.client, manifest.job_uid)
    if identity is not None:
        return identity
    before = _taken_before(state, manifest)
    if before is not None:
        return before
    misplacement = misplaced(state, client, manifest.round, manifest.attempt)
    current = open_attempt(state)
    if misplacement is not None or current is None:
        return misplacement
    if manifest.base_sha256 != current.plan.base.sha256:
        message = f"base_sha256 {manifest.base_sha256} is not the base of round {manifest.round}: ask next"
        return Refusal(code="WrongBase", message=message)
    excess = _unfit_payloads(state, current, manifest) or claims.excessive(current.max_samples, manifest.samples)
    return excess or _unfit_numbers({"training_s": manifest.training_s}, manifest.metrics)


def evaluated(state: State, client: str, report: EvaluationReport) -> Refusal | EvaluationReport | None:
    """None: new. A report: it was taken before. Else the refusal."""
    identity = _impostor(state, client, report.client, report.job_uid)
    if identity is not None:
        return identity
    if state.tip is None or report.round != state.tip.round or state.phase is Phase.FINISHED:
        return Refusal(code="StaleRound", message=f"the model of round {report.round} is not evaluated now: ask next")
    if report.model_sha256 != state.tip.model.sha256:
        return Refusal(code="WrongBase", message=f"model_sha256 is not the model of round {report.round}: ask next")
    if client not in state.roster.eligible:
        message = f"site {client!r} takes no part now (paused, or not ready): its evaluation does not count"
        return Refusal(code="NotSelected", message=message)
    excess = claims.excessive(state.config.max_samples, report.samples)
    return state.reports.get(client) or excess or _unfit_numbers({}, report.metrics)


def failed(state: State, client: str, report: FailureReport) -> Refusal | None:
    """Whether a failure report does not belong here."""
    return _impostor(state, client, report.client, report.job_uid)


def matters(state: State, client: str, report: FailureReport) -> bool:
    """Whether a failure changes what is waited for: a site that failed already is not listened to again."""
    if state.phase is Phase.EVALUATING:
        return client not in state.excused
    current = open_attempt(state)
    return (
        current is not None
        and (report.round, report.attempt) == (current.plan.round, current.plan.attempt)
        and client in current.pending
    )


def _taken_before(state: State, manifest: UpdateManifest) -> Refusal | UpdateManifest | None:
    """An update counts once per round and attempt: same nonce, same answer; another one is refused."""
    attempt = state.current
    if attempt is None or (attempt.plan.round, attempt.plan.attempt) != (manifest.round, manifest.attempt):
        return None
    taken = attempt.accepted.get(manifest.client)
    if taken is None or taken.nonce == manifest.nonce:
        return taken
    return Refusal(code="Duplicate", message=_TAKEN.format(manifest.client, manifest.round))


def _impostor(state: State, client: str, claimed: str, job_uid: str) -> Refusal | None:
    if claimed != client:
        return Refusal(code="Unauthorized", message=f"client {claimed!r} is not the site of this URL, {client!r}")
    if job_uid != state.config.uid:
        return Refusal(code="NotInJob", message=f"job_uid {job_uid!r} is another job's")
    return None


def _unfit_payloads(state: State, current: Attempt, manifest: UpdateManifest) -> Refusal | None:
    """Whether its files are not those that the plan asks for, as it asks for them, or not where their grants put them."""
    kem = current.plan.encryption
    if manifest.payloads.keys() != {UPDATE}:
        named = ", ".join(sorted(name[:MAX_METRIC_NAME] for name in manifest.payloads))
        return Refusal(code="Malformed", message=f"payloads are {named}: send {UPDATE!r} and no other")
    for name, payload in manifest.payloads.items():
        if payload.encryption != kem:
            asked = f"round {manifest.round} asks for {kem}" if kem else f"round {manifest.round} asks for none"
            said = f"is encrypted by {payload.encryption}" if payload.encryption else "is not encrypted"
            return Refusal(code="Malformed", message=f"payloads.{name} {said}, {asked}: do as the order says")
        sha256 = payload.object.sha256
        expected = state.layout.update(manifest.client, manifest.round, sha256, encrypted=kem is not None)
        if payload.object.key != expected:
            message = f"payloads.{name}.object.key must be {expected!r}: use the object of the grant"
            return Refusal(code="Malformed", message=message)
    return None


def _unfit_numbers(fields: Metrics, metrics: Metrics) -> Refusal | None:
    """Whether a number would spoil what is made of it: means over sites, and records, are finite and exact."""
    for name, value in (*fields.items(), *metrics.items()):
        if not fit_for_a_name(name):
            return Refusal(
                code="Malformed", message=f"metric name {name[:MAX_METRIC_NAME]!r}: send 1 or more visible characters"
            )
        if len(name) > MAX_METRIC_NAME:
            return Refusal(
                code="Malformed",
                message=f"metric {name[:MAX_METRIC_NAME]!r}… has a name of over {MAX_METRIC_NAME} characters",
            )
        if not math.isfinite(value):
            return Refusal(code="NotFinite", message=f"metric {name!r} is {value}: send finite numbers")
        if abs(value) > MAX_METRIC:
            message = f"metric {name!r} is {value}: send values between {-MAX_METRIC} and {MAX_METRIC}"
            return Refusal(code="Malformed", message=message)
    return None
