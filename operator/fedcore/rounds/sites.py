"""What is known of each site over all rounds. Pure; a part of the state."""

from dataclasses import dataclass

from fedapi.wire.commit import CommitRecord, Participant
from fedapi.wire.privacy import RecordPrivacy
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import UPDATE
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.participation import NONE, Participation


@dataclass(frozen=True)
class Contribution:
    """A site's update in a commit."""

    round: int
    attempt: int
    sha256: str | None  # of its payload `update`

    @staticmethod
    def of(commit: CommitRecord, participant: Participant) -> "Contribution":
        """A participant's."""
        order = participant.order or commit
        return Contribution(order.round, order.attempt, participant.payloads.get(UPDATE))


@dataclass(frozen=True)
class Site:
    """What is known of one site over all rounds."""

    heard_at: float | None = None  # by this process
    speech: Speech | None = None  # to this process
    last_round: int = 0  # last round with an accepted update
    samples: int = 0  # of its last accepted update
    sent: tuple[int, int] | None = None  # round and attempt of its last accepted update, as far as this process knows
    privacy: RecordPrivacy | None = None  # of all updates that have left the site: the most that one of them has said
    spent: TrainingSettings | None = (
        None  # what would have passed the site's own budget, as it has said to this process
    )
    part: Participation = NONE  # in committed rounds
    committed: Contribution | None = None  # the last of them
    failures: int = 0
    message: str = ""  # of the last failure or warning
    failed_round: int = 0  # round of the last failure

    @property
    def rounds(self) -> int:
        """Accepted updates in committed rounds."""
        return self.part.accepted
