"""What a verification of a backup asks the task to do, and what it is answered: files in a folder that two processes share.

Written by fedbackup (the request, when the model beside it is whole) and by `fedtrainer evaluate` (the answer); each by
rename, so that a file that is there is all there. Neither has a network for the other.
"""

from pydantic import Field

from fedapi.wire.message import Message, Natural, Sha256
from fedapi.wire.metrics import Metrics
from fedapi.wire.training import TrainingSettings

REQUEST_FILE, ANSWER_FILE = "request.json", "evaluation.json"


class EvaluationRequest(Message):
    """A model to be measured on the verification's own data."""

    model: str = Field(description="Its file, relative to the shared folder; empty: there is nothing to do.")
    sha256: Sha256 | None = None
    round: int = Field(0, ge=0)
    training: TrainingSettings = TrainingSettings()


class EvaluationAnswer(Message):
    """What was measured, or why nothing was."""

    metrics: Metrics = {}
    samples: Natural = 0
    exit: int = Field(0, ge=0, le=255, description="The exit code of the process; 0 where it has measured.")
    message: str = ""
