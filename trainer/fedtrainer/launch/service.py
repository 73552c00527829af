"""The generation service: the state of a ring, on worker 0's launcher, for the launchers of the site.

Questions are held open until there is something to say, for a few seconds; how they arrive is in endpoint.py. Nothing is decided here and nothing is kept beyond the process: launchers tell a new service what it must know.
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from fedtrainer.launch import generations as g
from fedtrainer.launch.endpoint import Gone, Reply, UnfitError, listen
from fedtrainer.launch.messages import PATH_JOIN, PATH_REPORT, PATH_WATCH, JoinRequest, News, Report, WatchRequest

log = logging.getLogger(__name__)

HOLD_S = 5.0  # a question is answered after this long at the latest
LOOK_S = 0.25  # between two looks at whether the asker is still there
LEAST_CONNECTIONS = 64  # and three per worker


class Service:
    """The state of the ring and the threads that serve it. Use as a context manager."""

    def __init__(self, rules: g.Rules, token: str, port: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rules = rules
        self._clock = clock
        self._state = g.State(rules, changed=clock())
        self._told: set[int] = set()  # workers that know that the site has finished
        self._news = threading.Condition()
        self._ended = threading.Event()
        self._server = listen(port, token, self._routed, LEAST_CONNECTIONS + 3 * rules.workers)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="generations", daemon=True).start()
        threading.Thread(target=self._tick, name="generations-time", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def everybody_knows(self) -> bool:
        """Whether all other workers that are here have heard that the site has finished."""
        with self._news:
            return self._state.finished and set(self._state.members) - {0} <= self._told

    def _routed(self, path: str, body: bytes, gone: Gone) -> Reply | None:
        match path:
            case p if p == PATH_JOIN:
                join = JoinRequest.model_validate_json(body)
                worker, answer = join.place.worker, self._join(join, gone)
            case p if p == PATH_WATCH:
                watch = WatchRequest.model_validate_json(body)
                worker, answer = watch.worker, self._watch(watch, gone)
            case p if p == PATH_REPORT:
                report = Report.model_validate_json(body)
                worker, answer = report.worker, self._report(report)
            case _:
                return None
        if isinstance(answer, g.Done):
            return Reply(News.of(answer), lambda: self._told.add(worker))
        return Reply(News.of(answer))

    def _join(self, request: JoinRequest, gone: Gone) -> g.Answer:
        who = request.place.value()
        if who.worker >= self._rules.workers or request.slots != self._rules.slots:
            raise UnfitError(
                f"the ring has {self._rules.workers} workers of {self._rules.slots} ranks: worker {who.worker} with "
                f"{request.slots} is of another pool"
            )
        self._act(g.Join(who, request.after, request.why))
        return self._held(who.worker, who.incarnation, request.after, lambda a: isinstance(a, g.Wait), gone)

    def _watch(self, request: WatchRequest, gone: Gone) -> g.Answer:
        self._act(g.Heard(request.worker, request.incarnation))
        known = g.Run(request.regroup)
        return self._held(request.worker, request.incarnation, request.generation, lambda a: a == known, gone)

    def _report(self, request: Report) -> g.Answer:
        match request.what:
            case "Broken":
                self._act(g.Broken(request.generation, request.worker, request.why))
            case "Leaving":
                self._act(g.Leaving(request.worker, request.incarnation, request.why))
            case "Finished":
                if request.worker != 0:
                    raise UnfitError("only worker 0 knows whether the site has finished")
                self._act(g.Finished(request.generation))
        return g.answer(self._state, request.worker, request.incarnation, request.generation)

    def _act(self, event: g.Event) -> None:
        with self._news:
            before, self._state = self._state, g.step(self._state, event, self._clock())
            after = self._state
            if after is before:
                return
            self._news.notify_all()
        if after.current != before.current or after.finished != before.finished:
            log.info("%s", _described(after))

    def _held(
        self, worker: int, incarnation: str, generation: int, dull: Callable[[g.Answer], bool], gone: Gone
    ) -> g.Answer:
        end = self._clock() + HOLD_S
        with self._news:
            answer = g.answer(self._state, worker, incarnation, generation)
            while dull(answer) and (left := end - self._clock()) > 0 and not self._ended.is_set() and not gone():
                self._news.wait(min(left, LOOK_S))
                answer = g.answer(self._state, worker, incarnation, generation)
        if gone():
            self._act(g.Dropped(worker, incarnation))
        return answer

    def _tick(self) -> None:
        while not self._ended.wait(LOOK_S):
            self._act(g.Tick())


def _described(state: g.State) -> str:
    if state.finished:
        return "the site has finished"
    if state.current is None:
        return f"generation {state.number} has ended: {state.why}"
    workers = ", ".join(str(member.worker) for member in state.current.members)
    return f"generation {state.current.number}: workers {workers}"
