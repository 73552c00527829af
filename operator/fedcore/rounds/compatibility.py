"""Whether hub and site understand each other: by protocol, and by what a plan needs of a trainer. Pure.

Asked by planning (whom to select), machine (whom not to wait for), the site routes (whom to tell) and the status.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedapi.wire.compression import Encoding
from fedapi.wire.job import JobConfig
from fedapi.wire.plan import PlanRecord
from fedapi.wire.protocol import (
    COMPRESSION,
    CONTROL_VARIATES,
    DELTA,
    DETERMINISM_WARN,
    DOWNLOAD,
    DP_SGD,
    ENCRYPTED_SUMS,
    ENCRYPTION,
    EXCHANGE,
    FRAGMENTS,
    FULL_GRADIENT,
    KEEP_OPTIMIZER,
    OLDEST_AT_HUB,
    PROTOCOL,
    PROXIMAL,
    SECAGG,
    SECAGG_GROUPS,
    SITE_NOISE,
    SUB_MODELS,
)
from fedapi.wire.training import Method, TrainingSettings
from fedcore.rounds import training

Work = PlanRecord | JobConfig  # what says what a site is to do: in a round its plan
COUNTS_STEPS = frozenset({"FedNova"})  # strategies for which an update that does not say its optimizer steps is none
SAYS_STEPS = 2  # the protocol since which trainers say them
_REBUILD = "build its task image with a trainer of this hub's version"


@dataclass(frozen=True)
class Speech:
    """What a site's trainer speaks, as it says with each question; nothing said: version 0.1."""

    protocol: int = 1
    oldest: int = 1  # in which it can be answered
    features: frozenset[str] = frozenset()


def misfit(
    speech: Speech | None, work: Work, *, partial: bool = False, training: TrainingSettings | None = None
) -> str:
    """Why a site cannot be given such work, with the way out; empty when it can, or has not spoken yet.

    `partial`: the job's models need the initial one; of a round, its plan says so. `training`: what the site itself is to do.
    """
    return stranger(speech) or (_unable(speech, work, partial, training or work.training) if speech else "")


def stranger(speech: Speech | None) -> str:
    """Why a site would understand no answer at all, not even that the job is over; empty as above."""
    if speech is None:
        return ""
    if speech.protocol < OLDEST_AT_HUB:
        return f"it speaks protocol {speech.protocol}, this hub {OLDEST_AT_HUB} to {PROTOCOL}: {_REBUILD}"
    if speech.oldest > PROTOCOL:
        theirs = f"{speech.oldest} to {speech.protocol}"
        return f"it speaks protocol {theirs}, this hub {OLDEST_AT_HUB} to {PROTOCOL}: {_REBUILD}, or upgrade the hub"
    return ""


def _unable(speech: Speech, work: Work, partial: bool, own: TrainingSettings) -> str:
    lacks = [(what, other) for feature, what, other in _needs(work, partial, own) if feature not in speech.features]
    if work.strategy.name in COUNTS_STEPS and speech.protocol < SAYS_STEPS:
        lacks.append((f"strategy.name {work.strategy.name}, which needs the sites' optimizer steps", "take another"))
    if not lacks:
        return ""
    named, others = (", ".join(texts) for texts in zip(*lacks, strict=True))
    return f"its trainer (protocol {speech.protocol}) cannot do {named}: {_REBUILD}, or {others}"


def _needs(work: Work, partial: bool, own: TrainingSettings) -> Iterator[tuple[str, str, str]]:
    """Features that work needs: each with its field and value, and with what does without."""
    if partial or (isinstance(work, PlanRecord) and work.initial is not None):
        what = (
            "tensors that do not travel (frozen parameters, training.exchange, training.localParameters), or sub-models"
        )
        yield EXCHANGE, what, "make the job anew with a task that freezes none and without these fields"
    yield from _own_needs(own)
    if work.training.determinism == "Warn":
        yield DETERMINISM_WARN, "training.determinism Warn", "set it to Strict"
    if work.encryption is not None:
        yield ENCRYPTION, "storage.clientEncryption", "switch that off"
    if work.compression is not None:
        yield COMPRESSION, f"compression.codec {work.compression.codec}", "set it to None"
    if (encoding := _download(work)) is not None:
        yield DOWNLOAD, f"compression.download.codec {encoding.codec}", "remove compression.download"
    if work.reference is not None if isinstance(work, PlanRecord) else work.download_delta:
        yield DELTA, "compression.download.delta true", "remove compression.download"
    yield from _privacy_needs(work)
    method = work.training.method if isinstance(work, PlanRecord) else training.method(work)
    if method is not None:
        yield from _method_needs(work.strategy.name, method)


def _privacy_needs(work: Work) -> Iterator[tuple[str, str, str]]:
    """The same of what sites do to their updates before these leave."""
    if work.secure is not None:
        if work.secure.scheme is None:
            yield SECAGG, "privacy.secureAggregation", "make the job anew without it"
        else:
            what = "privacy.homomorphicEncryption, for which it needs TenSEAL (fedloom[he])"
            yield ENCRYPTED_SUMS, what, "make the job anew with secureAggregation in its place"
        if work.secure.groups is not None:
            yield SECAGG_GROUPS, "privacy.secureAggregation.groups", "remove these"
    if work.site_noise is not None if isinstance(work, PlanRecord) else _is_local(work):
        yield SITE_NOISE, "privacy.differentialPrivacy.mode Local", "make the job anew with mode Central"


def _own_needs(own: TrainingSettings) -> Iterator[tuple[str, str, str]]:
    """The same of what the site itself is to do."""
    if own.model_width is not None:
        yield SUB_MODELS, f"clients.overrides.modelWidth {own.model_width}", "take it out of the site's override"
    if own.dp_sgd is not None:
        yield DP_SGD, "privacy.dpSGD, for which it needs opacus (fedloom[dpsgd])", "make the job anew without it"


def _method_needs(strategy: str, method: Method) -> Iterator[tuple[str, str, str]]:
    """The same of the strategy's part at the sites."""
    asked = {
        PROXIMAL: method.proximal is not None,
        FULL_GRADIENT: method.full_gradient,
        CONTROL_VARIATES: method.control_variates is not None,
        KEEP_OPTIMIZER: method.keep_optimizer,
    }
    if method.fragments is not None:
        yield FRAGMENTS, f"strategy.diLoCo.fragments {method.fragments}", "set it to 1"
    for feature, needed in asked.items():
        if needed:
            yield feature, f"strategy.name {strategy} ({feature})", "make the job anew with another strategy"


def _is_local(config: JobConfig) -> bool:
    return config.privacy is not None and config.privacy.mode == "Local"


def _download(work: Work) -> Encoding | None:
    """How the model comes, where none comes otherwise."""
    if isinstance(work, PlanRecord):
        return work.broadcast.encoding if work.broadcast and not work.broadcast.of else None
    return None if work.download_delta else work.download
