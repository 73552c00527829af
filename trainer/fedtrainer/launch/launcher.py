"""The launcher of a pod: joins generations of the site's ring until the site has finished. Called by __main__.

Worker 0's launcher keeps the generation service too. The loop: ask for a generation, let a participation run it, ask again.
"""

import logging
import secrets
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from queue import SimpleQueue
from types import FrameType

from fedapi.outcome import Exit, reason
from fedapi.wire.tokens import hkdf
from fedtrainer.errors import StopError
from fedtrainer.launch import generations as g
from fedtrainer.launch.client import Client
from fedtrainer.launch.messages import TOKEN_INFO, JoinRequest, Place
from fedtrainer.launch.participation import Happening, Lost, Over, Participation, Pod, Signalled, after
from fedtrainer.launch.ranks import COMMAND
from fedtrainer.launch.reach import free_port, listener
from fedtrainer.launch.service import Service
from fedtrainer.settings import TrainerSettings
from fedtrainer.termination import leave_reason, one_line

log = logging.getLogger(__name__)

FINISH_S = 10.0  # for the other launchers to hear that the site has finished
LAST_S = 2.0  # for their pods to end: worker 0's success completes the Job, which then ends pods that still run
STEADY_TIMEOUTS = 2  # a generation that outlives this many timeouts of an operation has made progress


def run(settings: TrainerSettings, command: Sequence[str] = COMMAND) -> int:
    """Starts `command` for every rank of every generation; the exit code of the pod."""
    token = hkdf(settings.token().get_secret_value().encode(), TOKEN_INFO).hex()
    with ExitStack() as stack:
        service = (
            stack.enter_context(Service(_rules(settings), token, settings.ring_port)) if _leads(settings) else None
        )
        port = service.port if service else stack.enter_context(listener(str(settings.ring_address))).port
        host = "127.0.0.1" if service else settings.ring_leader
        client = Client(host, settings.ring_port, token, settings.patience_s)  # threads ask until the process ends
        end = Launcher(Pod(settings, client, secrets.token_hex(8), command), port).run()
        if service and end.code == Exit.OK:
            _until_known(service)
            time.sleep(LAST_S if settings.ring_workers > 1 else 0.0)
    if end.code != Exit.OK:
        log.error("%s (exit %d): %s", reason(end.code), end.code, end.line)
        leave_reason(one_line(end.line))
    return end.code


def _leads(settings: TrainerSettings) -> bool:
    return settings.worker == 0


def _rules(settings: TrainerSettings) -> g.Rules:
    return g.Rules(
        settings.ring_workers,
        settings.ring_min_workers or settings.ring_workers,
        settings.ring_slots,
        settings.ring_slice_hosts,
        settings.ring_wait_s,
        steady_s=STEADY_TIMEOUTS * settings.ring_timeout_s,
    )


def _until_known(service: Service) -> None:
    end = time.monotonic() + FINISH_S
    while not service.everybody_knows() and time.monotonic() < end:
        time.sleep(0.05)


class Launcher:
    """The loop. Its main thread is in the network only to report the end, so a signal acts at once."""

    def __init__(self, pod: Pod, reach_port: int) -> None:
        self._pod = pod
        self._reach_port = reach_port

    def run(self) -> Over:
        """Generation after generation."""
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # inherited: a rank that starts is not killed by it
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        last, why = 0, ""
        while True:
            generation = self._joined(last, why)
            if isinstance(generation, Over):
                return generation
            last = generation.number
            result = Participation(self._pod, generation).run()
            if isinstance(result, Over):
                return result
            why = result.why
            log.info("generation %d has ended: %s", last, why or "its ranks ended")

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if not self._pod.signalled:
            self._pod.signalled = number
            self._pod.inbox.put(Signalled(number))

    def _joined(self, number: int, why: str) -> g.Generation | Over:
        """The next generation, as soon as worker 0 makes one with this worker."""
        inbox: SimpleQueue[Happening] = SimpleQueue()
        self._pod.inbox = inbox
        threading.Thread(target=self._join, args=(inbox, number, why), daemon=True).start()
        if self._pod.signalled:  # it came before this inbox was there
            inbox.put(Signalled(self._pod.signalled))
        event = inbox.get()
        if isinstance(event, g.Start):
            return event.generation
        end = _over(event)
        if end.code != Exit.OK and not isinstance(event, Lost):
            self._pod.report("Leaving", number, end.line)
        return end

    def _join(self, inbox: "SimpleQueue[Happening]", number: int, why: str) -> None:
        s = self._pod.settings
        address = str(s.ring_address)
        who = g.Worker(s.worker, self._pod.incarnation, address, self._reach_port, free_port(address))
        request = JoinRequest(place=Place.of(who), slots=s.ring_slots, after=number, why=why[:2000])
        log.info("worker %d asks for a generation after %d", s.worker, number)
        try:
            answer = self._pod.client.join(request)
            while isinstance(answer, g.Wait) and self._pod.inbox is inbox:
                answer = self._pod.client.join(request)
        except StopError as error:
            inbox.put(Lost(error))
        else:
            inbox.put(answer)


def _over(event: Happening) -> Over:
    match event:
        case Signalled(number):
            return Over(128 + number, f"ended by signal {number}")
        case Lost(error):
            return Over(error.exit, str(error))
        case g.Done() | g.Replaced() | g.Failed():
            return after(event)
        case _:
            raise AssertionError(event)  # nothing else comes while there are no ranks
