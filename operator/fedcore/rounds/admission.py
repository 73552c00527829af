"""Whether what a site sends belongs to what is going on: pure decisions, answered with the wire's refusal codes.

Called by the HTTP routes before anything is read, and again by the engine before anything becomes durable.
The content of an update is judged elsewhere (fedcore.tensors.tensorfile and the engine's verification).
"""

import math

from fedapi import decimals
from fedapi.printable import fit_for_a_name
from fedapi.wire.ciphertext import Kem, stored_bytes
from fedapi.wire.compression import Compression, codec
from fedapi.wire.message import ObjectRef
from fedapi.wire.metrics import MAX_METRIC, MAX_METRIC_NAME, Metrics
from fedapi.wire.site import EvaluationReport, FailureReport, Refusal, UploadRequest
from fedapi.wire.update import CONTROL, UPDATE, UpdateManifest, payloads
from fedcore.rounds import claims, evaluation_requests, heldout, secure, training, window
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.compatibility import COUNTS_STEPS
from fedcore.rounds.state import Phase, State
from fedcore.tensors.fragments import WHOLE, Turn

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


def asked_of(state: State) -> ObjectRef | None:
    """A model of which an update may come now: that of the round that takes updates; None: none may."""
    if window.is_asynchronous(state.config):
        return state.tip.model if state.tip and window.takes_updates(state) else None
    current = open_attempt(state)
    return current.plan.base if current else None


def expected(state: State, client: str, round_: int) -> bool:
    """Whether an update of a site for an order of that round is waited for."""
    if client in state.accepted:
        return False
    if window.is_asynchronous(state.config):
        return window.refusal(state, client, round_, 1) is None
    current = open_attempt(state)
    return current is not None and round_ == current.plan.round and current.selected(client)


def _kem(state: State) -> Kem | None:
    """How updates are to be encrypted."""
    return state.current.plan.encryption if state.current else state.config.encryption


def misplaced(state: State, client: str, round_: int, attempt: int) -> Refusal | None:
    """Whether (round, attempt) of a site is not what is being collected from it."""
    if window.is_asynchronous(state.config):
        return window.refusal(state, client, round_, attempt)
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
    return secure.misplaced(current, client)


def unwanted(state: State, client: str, round_: int, attempt: int) -> Refusal | None:
    """Whether nothing that a site may upload for an attempt can count: a grant lives no longer than this is None."""
    if secure.reads(state, client, round_, attempt):
        return stranger(state, client)
    refusal = misplaced(state, client, round_, attempt) or stranger(state, client)
    if refusal is None and client in state.accepted:
        return Refusal(code="Duplicate", message=_TAKEN.format(client, round_))
    return refusal


def upload(state: State, client: str, request: UploadRequest) -> Refusal | ObjectRef:
    """Where an announced update goes, or why it does not."""
    refusal = unwanted(state, client, request.round, request.attempt)
    if (numbers := secure.numbers(state, client, request.round, request.attempt, request.sha256)) is not None:
        return refusal or _exactly(numbers, request)
    if refusal is not None or (base := asked_of(state)) is None:
        return refusal or Refusal(code="StaleRound", message="no round takes updates now")
    kem, limit = _kem(state), _largest(state, base)
    if kem is not None:
        limit = stored_bytes(limit, kem)
    if request.size > limit:
        message = f"size {request.size} is over {limit} bytes, which the base model allows: send its tensors only"
        return Refusal(code="TooLarge", message=message)
    key = state.layout.update(client, request.round, request.sha256, encrypted=kem is not None)
    return ObjectRef(key=key, sha256=request.sha256, size=request.size)


def _exactly(wanted: ObjectRef, request: UploadRequest) -> Refusal | ObjectRef:
    """What is wanted, or that something else was announced."""
    if request.size == wanted.size:
        return wanted
    message = f"size {request.size} is not the {wanted.size} bytes of the numbers of the sum: send these"
    return Refusal(code="WrongSize", message=message)


def width(state: State, client: str) -> float | None:
    """Of which sub-model a site's update has to be; None: of the whole model."""
    return state.current.plan.training_of(client).model_width if state.current else None


def compression(state: State) -> Compression | None:
    """How the payload `update` is to be encoded."""
    return state.current.plan.compression if state.current else state.config.compression


def turn(state: State) -> Turn:
    """Which part of the model the payload `update` is of."""
    plan = state.current.plan if state.current else None
    return Turn(plan.round, plan.strategy.fragments) if plan else WHOLE


def wanted(state: State) -> frozenset[str]:
    """Names of the payloads that an update has."""
    return payloads(state.current.plan.training if state.current else training.settings(state.config))


def _largest(state: State, base: ObjectRef) -> int:
    """Bytes that a payload may have: controls of 16-bit parameters have 32, as masked values do."""
    current = state.current
    if current is not None and current.plan.secure is not None and current.secure is not None:
        return current.secure.update_bytes(current.plan.secure.items)
    return base.size * (2 if CONTROL in wanted(state) else 1) + EXTRA_BYTES


def crowded(state: State, client: str, others: int) -> Refusal | None:
    """Whether a site that has stored so many other payloads in a round may store one more. Honest ones store one of each."""
    summed = state.current.plan.secure if state.current else None
    each = len(wanted(state)) + (1 if summed is not None and summed.scheme is not None else 0)  # the numbers of a sum
    limit = each * (UPLOADS + state.attempt - 1)
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
    if misplacement is not None:
        return misplacement
    if manifest.base_sha256 != window.base_sha256(state, manifest.round):
        message = f"base_sha256 {manifest.base_sha256} is not the base of round {manifest.round}: ask next"
        return Refusal(code="WrongBase", message=message)
    most = state.current.max_samples if state.current else state.config.max_samples
    masks = secure.unfit(state.current, manifest) if state.current else None
    excess = _unfit_payloads(state, manifest) or masks or claims.excessive(most, manifest.samples)
    excess = excess or _unfit_steps(state, manifest) or _unfit_privacy(state, manifest)
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


def site_evaluation(state: State, client: str, report: EvaluationReport) -> Refusal | None:
    """Whether a report outside of training is not taken. It may be late: any committed model is one that it was told to evaluate."""
    identity = _impostor(state, client, report.client, report.job_uid)
    if identity is not None:
        return identity
    if report.round >= len(state.history):
        return Refusal(code="StaleRound", message=f"round {report.round} is not committed: ask next")
    if not heldout.is_committed(state, report.round, report.model_sha256):
        return Refusal(code="WrongBase", message=f"model_sha256 is not the model of round {report.round}: ask next")
    excess = claims.excessive(state.config.max_samples, report.samples)
    return excess or _unfit_numbers({}, report.metrics)


def in_turn(state: State, client: str, report: EvaluationReport) -> bool:
    """Whether a report is also one of those that a round, or the last step, has from the sites that train."""
    attempt = state.current
    asked = state.phase is Phase.EVALUATING or (attempt is not None and attempt.selected(client))
    return asked and state.tip is not None and report.round == state.tip.round


def failed(state: State, client: str, report: FailureReport) -> Refusal | None:
    """Whether a failure report does not belong here."""
    return _impostor(state, client, report.client, report.job_uid)


def matters(state: State, client: str, report: FailureReport) -> bool:
    """Whether a failure changes what is waited for: a site that failed already is not listened to again."""
    if evaluation_requests.open_for(state, client) and not report.attempt:
        return True
    if state.phase is Phase.EVALUATING or heldout.is_held_out(state, client):
        return client not in state.excused
    current = state.current if state.phase is Phase.OPENING else open_attempt(state)
    if window.is_asynchronous(state.config):
        waits = current is not None and client in current.pending
        return waits and window.refusal(state, client, report.round, report.attempt) is None
    return (
        current is not None
        and (report.round, report.attempt) == (current.plan.round, current.plan.attempt)
        and current.waits_for(client)
    )


def _taken_before(state: State, manifest: UpdateManifest) -> Refusal | UpdateManifest | None:
    """An update counts once per round and attempt: same nonce, same answer; another one is refused."""
    taken = state.accepted.get(manifest.client)
    if taken is None or (taken.round, taken.attempt) != (manifest.round, manifest.attempt):
        return None
    if taken.nonce == manifest.nonce:
        return taken
    return Refusal(code="Duplicate", message=_TAKEN.format(manifest.client, manifest.round))


def _impostor(state: State, client: str, claimed: str, job_uid: str) -> Refusal | None:
    if claimed != client:
        return Refusal(code="Unauthorized", message=f"client {claimed!r} is not the site of this URL, {client!r}")
    if job_uid != state.config.uid:
        return Refusal(code="NotInJob", message=f"job_uid {job_uid!r} is another job's")
    return None


def _unfit_payloads(state: State, manifest: UpdateManifest) -> Refusal | None:
    """Whether its files are not those that the plan asks for, as it asks for them, or not where their grants put them."""
    kem = _kem(state)
    if manifest.payloads.keys() != (needed := wanted(state)):
        named = ", ".join(sorted(name[:MAX_METRIC_NAME] for name in manifest.payloads))
        message = f"payloads are {named}: send {' and '.join(map(repr, sorted(needed)))} and no other"
        return Refusal(code="Malformed", message=message)
    for name, payload in manifest.payloads.items():
        if payload.encryption != kem:
            asked = f"round {manifest.round} asks for {kem}" if kem else f"round {manifest.round} asks for none"
            said = f"is encrypted by {payload.encryption}" if payload.encryption else "is not encrypted"
            return Refusal(code="Malformed", message=f"payloads.{name} {said}, {asked}: do as the order says")
        asked = codec(compression(state)) if name == UPDATE else "None"
        if payload.codec != asked:
            message = f"payloads.{name}.codec is {payload.codec}, round {manifest.round} asks for {asked}: do as the order says"
            return Refusal(code="Malformed", message=message)
        sha256 = payload.object.sha256
        expected = state.layout.update(manifest.client, manifest.round, sha256, encrypted=kem is not None)
        if payload.object.key != expected:
            message = f"payloads.{name}.object.key must be {expected!r}: use the object of the grant"
            return Refusal(code="Malformed", message=message)
    return None


def _unfit_steps(state: State, manifest: UpdateManifest) -> Refusal | None:
    """Whether an update does not say what its strategy weighs it by, or says what cannot be."""
    plan = state.current.plan if state.current else None
    name = (plan.strategy if plan else state.config.strategy).name
    if name not in COUNTS_STEPS or manifest.samples == 0:
        return None
    if manifest.steps:
        told = plan.training_of(manifest.client) if plan else state.config.training
        return claims.impossible(told, manifest.samples, manifest.steps)
    message = f"strategy {name} needs the optimizer steps of an update, steps is {manifest.steps}: return TrainResult(…, steps=…)"
    return Refusal(code="Malformed", message=message)


def _unfit_privacy(state: State, manifest: UpdateManifest) -> Refusal | None:
    """Whether it does not say what it tells of a record where the plan asks for DP-SGD, or says it of another delta."""
    asked = (state.current.plan.training if state.current else state.config.training).dp_sgd
    said = manifest.privacy
    if (asked and asked.delta) == (said and said.delta):
        return None
    told = f"privacy is of delta {decimals.short(said.delta)}" if said else "privacy is not said"
    wanted = (
        f"round {manifest.round} trains by DP-SGD with delta {decimals.short(asked.delta)}"
        if asked
        else "no DP-SGD is asked for"
    )
    return Refusal(code="Malformed", message=f"{told}, but {wanted}: do as the order says")


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
