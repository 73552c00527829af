"""The small messages to the aggregator: JSON, by whatever carries them (transport.py). Called by work.py and watch.py.

What an error answer means is in answers.py; big bodies have a connection of their own (stream.py).
"""

from functools import partial
from typing import TypeVar

from pydantic import ValidationError

from fedapi.wire.entrusted import EntrustAnswer, EntrustRequest, Recalled, RecallRequest
from fedapi.wire.message import Message
from fedapi.wire.protocol import FEATURES, OLDEST_AT_SITE, PROTOCOL
from fedapi.wire.secureround import SecureAnswer, SecureSaid
from fedapi.wire.site import (
    Assignment,
    EvaluationReport,
    FailureReport,
    NextRequest,
    Receipt,
    UploadGrant,
    UploadRequest,
)
from fedapi.wire.update import HandedUpdate
from fedtrainer.agent import answers
from fedtrainer.agent.patience import Patience, RetryError, persist
from fedtrainer.agent.signing import Signer
from fedtrainer.agent.transport import Transport
from fedtrainer.errors import BadSettingsError, LinkExpiredError, RejectedError
from fedtrainer.settings import TrainerSettings

M = TypeVar("M", bound=Message)

ANSWER_S = 60.0  # longest wait for an answer that is not held on purpose
FAILURE_PATIENCE_S = 20.0  # a report before the end must not delay the end


class Control:
    """The questions and reports of a site."""

    def __init__(self, transport: Transport, settings: TrainerSettings) -> None:
        self._transport = transport
        self._address = f"{settings.aggregator_url.rstrip('/')}/v1/sites/{settings.client}"
        self._patience, self._signer = Patience(settings.patience_s), Signer(settings)

    def next(self, wait_s: float) -> Assignment:
        """What to do; held by the aggregator for up to `wait_s`, or for as long as the transport lets it."""
        return persist("asking for work", lambda: self._next(wait_s), self._patience)

    def peek(self, wait_s: float, doing: tuple[int, int]) -> Assignment:
        """Whether the work under way is still wanted. One try: RetryError is the caller's."""
        return self._next(wait_s, doing)

    def grant(self, request: UploadRequest) -> UploadGrant:
        """Where to put an update."""
        return self._persist("announcing the update", "uploads", request, UploadGrant)

    def update(self, update: HandedUpdate) -> Receipt:
        """Hands in an update that was put, or comes with it; durable once answered."""
        return self._persist("handing in the update", "updates", self._signer.signed(update), Receipt)

    def evaluation(self, report: EvaluationReport) -> Receipt:
        """Metrics of a global model."""
        return self._persist("reporting the evaluation", "evaluations", self._signer.signed(report), Receipt)

    def failure(self, report: FailureReport) -> Receipt:
        """That this site cannot deliver; tried for a short while only."""
        report = self._signer.signed(report)
        short = Patience(min(self._patience.total_s, FAILURE_PATIENCE_S))
        return persist("reporting the failure", lambda: self._post("failures", report, Receipt), short)

    def secure(self, said: SecureSaid) -> SecureAnswer:
        """Says a site's part in a sum of updates that nobody is to see, and hears what is next; held by the aggregator for up to `wait_s`."""
        held = self._transport.held_s(said.wait_s)
        message = self._signer.secure(said.model_copy(update={"wait_s": held}))
        ask = partial(self._post, "secure", message, SecureAnswer, ANSWER_S + held)
        return persist("going on with the sum", ask, self._patience)

    def entrust(self, request: EntrustRequest) -> EntrustAnswer:
        """Where to put the site's state, or that the hub has it. One try: RetryError is the caller's."""
        return self._post("entrust", request, EntrustAnswer)

    def recall(self, request: RecallRequest) -> Recalled:
        """Where that state is fetched; LinkExpiredError: the hub has none. One try, as above."""
        return self._post("recall", request, Recalled)

    def _next(self, wait_s: float, doing: tuple[int, int] | None = None) -> Assignment:
        request = question(self._transport.held_s(wait_s), doing, self._signer.features)
        try:
            return self._post("next", request, Assignment, ANSWER_S + request.wait_s)
        except (RejectedError, LinkExpiredError) as error:
            raise not_understood(self._address, error) from error

    def _persist(self, what: str, path: str, message: Message, answer: type[M]) -> M:
        return persist(what, lambda: self._post(path, message, answer), self._patience)

    def _post(self, path: str, message: Message, answer: type[M], read_s: float = ANSWER_S) -> M:
        body = message.model_dump_json().encode()
        status, content = self._transport.post(path, body, read_s)
        refused = answers.error(status, content)
        if refused is not None:
            raise refused
        try:
            return answer.told(content)
        except ValidationError as error:
            raise RetryError(f"the answer to {path} is no {answer.__name__}: {error.error_count()} errors") from error


def not_understood(where: str, error: RejectedError | LinkExpiredError) -> BadSettingsError:
    """What a refused question means."""
    if isinstance(error, RejectedError) and error.code == "Incompatible":
        return BadSettingsError(str(error))  # it says why, and the way out
    way_out = "build the task image with a trainer of the hub's version"
    return BadSettingsError(f"the aggregator at {where} does not speak protocol {PROTOCOL}: {way_out} ({error})")


def question(wait_s: float, doing: tuple[int, int] | None = None, features: tuple[str, ...] = FEATURES) -> NextRequest:
    """A question of this trainer, which says what it speaks."""
    return NextRequest(wait_s=wait_s, doing=doing, protocol=PROTOCOL, oldest_protocol=OLDEST_AT_SITE, features=features)
