"""What a site says of itself that its update is weighed by, and so its power. Pure; called by admission, machine and recovery.

Nobody can check the numbers. Samples are bounded by clients.maxSamples, and a jump between rounds is told in the status; optimizer
steps are bounded by what the plan lets so many samples make. Who relies on them assumes that most of the weight is honest
(docs/concepts.md).
"""

from dataclasses import replace

from fedapi.names import WARNING
from fedapi.wire.metrics import MAX_SAMPLES
from fedapi.wire.privacy import RecordPrivacy
from fedapi.wire.secureround import FIELDS
from fedapi.wire.site import Refusal
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UpdateManifest
from fedcore.rounds.sites import Site
from fedcore.rounds.state import State

JUMP = 10  # a site's samples change less from round to round, unless its data did


def excessive(most: int, samples: int) -> Refusal | None:
    """Whether so many samples are more than a site of this job may claim."""
    if samples > MAX_SAMPLES:
        return Refusal(code="Malformed", message=f"samples is {samples}: send at most {MAX_SAMPLES}")
    if samples > most:
        message = f"samples is {samples}, clients.maxSamples of the job is {most}: send what is true, or raise it"
        return Refusal(code="TooLarge", message=message)
    return None


def impossible(training: TrainingSettings, samples: int, steps: int) -> Refusal | None:
    """Whether so many optimizer steps are more than a site that does as it was told can have made."""
    if training.local_steps is not None:
        most, why = training.local_steps, f"training.localSteps is {training.local_steps}"
    else:
        epochs, batch = training.epochs or 1, training.batch_size
        most = epochs * -(-samples // batch)
        why = f"training.epochs is {epochs}, and {samples} samples are {most // epochs} batches of {batch}"
    if steps <= most:
        return None
    message = f"steps is {steps}, but {why}: make no more steps than {most}, or change that field"
    return Refusal(code="Malformed", message=message)


def taken(state: State, manifest: UpdateManifest) -> Site:
    """A site's entry with an accepted update; a jump of its samples since the last one is told, and values that were clipped."""
    before = state.site(manifest.client)
    privacy = most_told(before.privacy, manifest.privacy)
    sent = last_sent(before, manifest)
    site = replace(before, last_round=manifest.round, samples=manifest.samples, privacy=privacy, sent=sent)
    if clipped := sum(payload.clipped for payload in manifest.payloads.values()):
        text = f"{WARNING}{clipped} values of its update of round {manifest.round} were larger than"
        field = FIELDS[state.config.secure.scheme if state.config.secure else None]
        text = f"{text} {field}.valueRange and were clipped: raise it, or lower the site's learning rate"
        return replace(site, message=text)
    if before.last_round in (0, manifest.round) or not _jumps(before.samples, manifest.samples):
        return site
    text = (
        f"{WARNING}samples went from {before.samples} in round {before.last_round} to {manifest.samples} in round "
        f"{manifest.round}, by a factor of more than {JUMP}: they are the update's weight, ask the site why"
    )
    return replace(site, message=text)


def last_sent(before: Site, manifest: UpdateManifest) -> tuple[int, int]:
    """The newest order of a site that an update of its own answers, whatever becomes of that."""
    return max(before.sent or (0, 0), (manifest.round, manifest.attempt))


def most_told(*said: RecordPrivacy | None) -> RecordPrivacy | None:
    """What a site has told of a record at most: a site whose account was lost or put back says less than it said before."""
    return max((each for each in said if each is not None), key=lambda each: each.epsilon, default=None)


def _jumps(before: int, now: int) -> bool:
    return max(before, now) > JUMP * max(1, min(before, now))
