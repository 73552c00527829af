"""One generation at one worker: peers checked, ranks started and watched, all of them ended. Called by launcher.py.

Everything that happens arrives in one inbox: news from worker 0, ends of ranks, signals. It is over when no
rank is left; its result says whether the launcher joins the next generation or the pod ends.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Literal

from fedapi.outcome import Exit, reason
from fedtrainer.errors import PeerUnreachableError, RingBrokenError, StopError
from fedtrainer.launch import reach
from fedtrainer.launch.client import Client
from fedtrainer.launch.generations import Answer, Done, Failed, Generation, Replaced, Run
from fedtrainer.launch.messages import Report, WatchRequest
from fedtrainer.launch.ranks import COMMAND, Ended, Ranks
from fedtrainer.launch.slots import environment, slots
from fedtrainer.settings import TrainerSettings

log = logging.getLogger(__name__)

REACH_S = 30.0  # longest check of the peers
ALONE_S = 3.0  # for ranks of a broken generation to end by themselves: rank 0 may be asking for work, and hear nothing
LAST_S = 15.0  # for ranks of a finished site
FORCED_S = 17.0  # from SIGTERM to SIGKILL: rank 0 may be writing a checkpoint
TERMINATED_S = 25.0  # from the pod's SIGTERM to SIGKILL: shorter than Kubernetes' 30 s
REPORT_S = 5.0  # to tell worker 0 of an end
BEAT_S = 1.0  # between two signs of life while ranks end


@dataclass(frozen=True)
class Signalled:
    """The pod shall end."""

    number: int


@dataclass(frozen=True)
class Checked:
    """All peers are reached, or not."""

    error: PeerUnreachableError | None


@dataclass(frozen=True)
class Lost:
    """Worker 0 does not answer, or refuses this launcher."""

    error: StopError


@dataclass(frozen=True)
class Again:
    """The launcher joins the next generation."""

    why: str


@dataclass(frozen=True)
class Over:
    """The pod ends with this code and line."""

    code: int
    line: str = ""


Happening = Signalled | Checked | Lost | Ended | Answer


@dataclass
class Pod:
    """What the participations of one launcher have in common."""

    settings: TrainerSettings
    client: Client
    incarnation: str
    command: Sequence[str] = COMMAND
    signalled: int = 0
    inbox: "SimpleQueue[Happening]" = field(default_factory=SimpleQueue)  # of the participation, or the wait, at hand

    def report(self, what: Literal["Broken", "Leaving", "Finished"], generation: int, why: str) -> None:
        """Tells worker 0, if it is there; a launcher that has died tells nothing either."""
        report = Report(
            worker=self.settings.worker,
            incarnation=self.incarnation,
            generation=generation,
            what=what,
            why=why[:2000],
        )
        with suppress(StopError):
            self.client.report(report, REPORT_S)


class Participation:
    """The state of a participation; made anew for each generation."""

    def __init__(self, pod: Pod, generation: Generation) -> None:
        self._pod = pod
        self._settings = pod.settings
        self._generation = generation
        self._number = generation.number
        self._inbox: SimpleQueue[Happening] = SimpleQueue()
        self._ranks = Ranks(pod.command, self._inbox.put)
        self._seats = slots(generation, pod.settings)
        self._stop = threading.Event()
        self._started = False
        self._ends: list[Ended] = []
        self._deadlines: list[tuple[float, int]] = []  # when to send which signal
        self._forced = False  # a deadline was passed: what ranks end with then is no fault of theirs
        self._news: Answer | StopError | None = None  # what ended the generation, when it was not a rank of this worker

    def run(self) -> Again | Over:
        """Until no rank is left and it is known what comes next."""
        self._pod.inbox = self._inbox
        for target in (self._watch, self._check):
            threading.Thread(target=target, daemon=True).start()
        try:
            with self._ranks:
                if self._pod.signalled:  # it came between two generations
                    self._act(Signalled(self._pod.signalled))
                while not self._complete():
                    self._next()
                return self._result()
        finally:
            self._stop.set()

    def _watch(self) -> None:
        """Asks worker 0 for news, and shows it that this launcher lives, until it is over."""
        request = WatchRequest(worker=self._settings.worker, incarnation=self._pod.incarnation, generation=self._number)
        try:
            while not self._stop.is_set():
                answer = self._pod.client.watch(request)
                self._inbox.put(answer)
                if isinstance(answer, Run):
                    request = request.model_copy(update={"regroup": answer.regroup})
                else:
                    self._stop.wait(BEAT_S)
        except StopError as error:
            self._inbox.put(Lost(error))

    def _check(self) -> None:
        try:
            reach.check(self._generation, self._settings.worker, min(REACH_S, self._settings.ring_timeout_s))
        except PeerUnreachableError as error:
            self._inbox.put(Checked(error))
        else:
            self._inbox.put(Checked(None))

    def _next(self) -> None:
        timeout = max(0.0, self._deadlines[0][0] - time.monotonic()) if self._deadlines else None
        try:
            self._act(self._inbox.get(timeout=timeout))
        except Empty:
            _, number = self._deadlines.pop(0)
            self._forced = True
            self._ranks.signal(number)

    def _act(self, event: Happening) -> None:
        match event:
            case Checked(None):
                if self._news is None and not self._pod.signalled:
                    self._start()
            case Checked(error) | Lost(error):
                self._ended_by(error)
            case Ended():
                self._note(event)
            case Signalled():
                self._ranks.signal(signal.SIGTERM)
                self._deadlines = [(time.monotonic() + TERMINATED_S, signal.SIGKILL)]
            case Run(regroup):
                if regroup and self._started:
                    self._ranks.signal(signal.SIGUSR1, 0)  # again with each answer: a rank that starts ignores it
            case _:
                self._ended_by(event)

    def _start(self) -> None:
        for slot in self._seats:
            pid = self._ranks.start(slot, environment(slot, self._settings.threads, os.environ))
            log.info("generation %d: rank %d of %d is process %d", self._number, slot.rank, slot.size, pid)
        self._started = True

    def _ended_by(self, news: Answer | StopError | None) -> None:
        if self._news is None:
            self._news = news
            self._end_ranks(LAST_S if isinstance(news, Done) else ALONE_S)

    def _end_ranks(self, alone_s: float) -> None:
        """They are given time to end by themselves; the first reason counts."""
        if not self._deadlines and not self._forced:
            now = time.monotonic()
            self._deadlines = [(now + alone_s, signal.SIGTERM), (now + alone_s + FORCED_S, signal.SIGKILL)]

    def _note(self, ended: Ended) -> None:
        log.info("rank %d has ended: %s (exit %d)", ended.slot.rank, reason(ended.code), ended.code)
        first = all(end.code == Exit.OK for end in self._ends)
        self._ends.append(ended)
        if ended.code == Exit.OK:
            self._end_ranks(LAST_S)
        elif first and not self._pod.signalled:
            why = (self._number, ended.line)
            threading.Thread(target=self._pod.report, args=("Broken", *why), daemon=True).start()
            self._end_ranks(ALONE_S)

    def _complete(self) -> bool:
        """Whether no rank is left. Ranks that end well leave it to worker 0 to say that the site has finished."""
        if not self._started:
            return self._news is not None or bool(self._pod.signalled)
        if len(self._ends) < len(self._seats):
            return False
        self._deadlines.clear()
        well = all(end.code == Exit.OK for end in self._ends)
        return not well or self._settings.worker == 0 or self._news is not None or bool(self._pod.signalled)

    def _result(self) -> Again | Over:
        result = self._verdict()
        if isinstance(result, Over):
            finished = result.code == Exit.OK and self._settings.worker == 0
            self._pod.report("Finished" if finished else "Leaving", self._number, result.line)
        return result

    def _verdict(self) -> Again | Over:
        if any(end.slot.rank == 0 and end.code == Exit.OK for end in self._ends):
            return Over(Exit.OK)
        if self._pod.signalled and not isinstance(self._news, Done):
            return Over(128 + self._pod.signalled, f"ended by signal {self._pod.signalled}")
        forced = (128 + signal.SIGTERM, 128 + signal.SIGKILL) if self._forced else ()
        for end in self._ends:
            if end.fault and end.code not in forced and not isinstance(self._news, Done):
                return Over(end.code, end.line)
        return self._told()

    def _told(self) -> Again | Over:
        """What comes next when the ranks of this worker have no say in it."""
        match self._news:
            case Done() | Replaced() | Failed():
                return after(self._news)
            case RingBrokenError() if self._ends and all(end.code == Exit.OK for end in self._ends):
                return Over(Exit.OK)  # rank 0 has told these ranks that all is done; worker 0 is gone for good
            case StopError():
                return Over(self._news.exit, str(self._news))
            case _:
                return Again(self._ends[0].line if self._ends else "")


def after(answer: Done | Replaced | Failed) -> Over:
    """The pod's end, by an answer of worker 0."""
    match answer:
        case Done():
            return Over(Exit.OK)
        case Replaced():
            return Over(Exit.RING_BROKEN, "another pod has taken this worker's place")
        case Failed(why):
            return Over(Exit.PEER_UNREACHABLE, why)
