"""How many seconds sites have trained for this job, and how many of them are in its models: the goodput. Pure.

Useful are the trainings whose updates were committed. Lost are all others of selected sites, as far as the hub knows of them:
updates of attempts that failed, and, of sites that failed or came too late, the time from the plan until then. A site that was
not heard from since the plan is taken to have trained nothing. Nothing is decided by this.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fedapi.wire.commit import CommitRecord
from fedapi.wire.update import UpdateManifest
from fedcore.rounds import participation


@dataclass(frozen=True)
class Effort:
    """Seconds of all sites together, in committed rounds."""

    useful_s: float = 0.0
    lost_s: float = 0.0

    def with_commit(self, commit: CommitRecord) -> "Effort":
        """After a commit, which says what was lost for its round."""
        useful_s = sum(seconds for _, seconds in participation.trainings(commit))
        return Effort(self.useful_s + useful_s, self.lost_s + commit.lost_s)

    def goodput(self, spent_s: float) -> float | None:
        """The useful share, with what was lost for the round under way; None as long as nobody has trained."""
        total = self.useful_s + self.lost_s + spent_s
        return self.useful_s / total if total > 0 else None


def trained_s(accepted: Mapping[str, UpdateManifest], most: float) -> float:
    """What is in these updates; no site has trained for longer than its attempt took, whatever it says."""
    return sum(min(accepted[client].training_s, max(0.0, most)) for client in sorted(accepted))
