"""Whether hub and site understand each other: by protocol, and by what a plan needs of a trainer. Pure.

Asked by planning (whom to select), machine (whom not to wait for), the site routes (whom to tell) and the status.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fedapi.wire.job import JobConfig
from fedapi.wire.protocol import DETERMINISM_WARN, ENCRYPTION, OLDEST_AT_HUB, PROTOCOL
from fedapi.wire.store import PlanRecord

Work = PlanRecord | JobConfig  # what says what a site is to do: in a round its plan
_REBUILD = "build its task image with a trainer of this hub's version"


@dataclass(frozen=True)
class Speech:
    """What a site's trainer speaks, as it says with each question; nothing said: version 0.1."""

    protocol: int = 1
    oldest: int = 1  # in which it can be answered
    features: frozenset[str] = frozenset()


def misfit(speech: Speech | None, work: Work) -> str:
    """Why a site cannot be given such work, with the way out; empty when it can, or has not spoken yet."""
    return stranger(speech) or (_unable(speech, work) if speech else "")


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


def _unable(speech: Speech, work: Work) -> str:
    lacks = [(what, other) for feature, what, other in _needs(work) if feature not in speech.features]
    if not lacks:
        return ""
    named, others = (", ".join(texts) for texts in zip(*lacks, strict=True))
    return f"its trainer (protocol {speech.protocol}) cannot do {named}: {_REBUILD}, or {others}"


def _needs(work: Work) -> Iterator[tuple[str, str, str]]:
    """Features that work needs: each with its field and value, and with what does without."""
    if work.training.determinism == "Warn":
        yield DETERMINISM_WARN, "training.determinism Warn", "set it to Strict"
    if work.encryption is not None:
        yield ENCRYPTION, "storage.clientEncryption", "switch that off"
