"""Orders of many sites in one process, one after the other. Used by fedlocal's shared trainers, which ask for the work.

The environment says whose turn it is: identity, data, state folder and log are that site's alone, and its task is
imported and made anew, so that nothing of the site before is left in it. What is shared is what no site owns: libraries
that are loaded, and connections to the aggregator, on which every message carries its own site's token.
"""

import logging
import os
import sys
import threading
from contextlib import closing, suppress
from dataclasses import dataclass, field

from fedapi import jsonlog
from fedapi.wire.site import Assignment
from fedtrainer import process, taskpath
from fedtrainer.agent.bulk import Bulk
from fedtrainer.agent.checkpoint_store import CheckpointStore
from fedtrainer.agent.control import Control
from fedtrainer.agent.link import Link
from fedtrainer.agent.patience import Patience
from fedtrainer.agent.stream import Stream
from fedtrainer.agent.transport import Https
from fedtrainer.agent.trust import Trust
from fedtrainer.agent.work import Agent
from fedtrainer.settings import TrainerSettings

OURS = ("runner-watch", "watch")  # threads that end by themselves or end the process


@dataclass(frozen=True)
class Served:
    """What came of an order. With a code other than 0 the process has to end with it: the site's state is unknown."""

    code: int
    finished: bool = False  # the site needs no further order
    worn: bool = False  # the task left something running: the next site gets a new process


@dataclass
class SharedTrainer:
    """One process' part that is the same for all sites."""

    _modules: frozenset[str] = field(default_factory=lambda: frozenset(sys.modules))
    _links: dict[tuple[str, bytes], tuple[Link, Stream]] = field(default_factory=dict)  # by address and CA
    _handlers: list[logging.Handler] = field(default_factory=list)
    _finished: bool = False

    def serve(self, answer: str) -> Served:
        """Does what the aggregator answered the site that the environment describes."""
        process.begin()
        if not self._handlers:
            self._handlers += logging.getLogger().handlers
        logging.getLogger().handlers[:] = self._handlers  # without those of the task before
        self._finished = False
        code = process.code_of(lambda: self._serve(answer))
        return Served(code, self._finished, _left_running())

    def _serve(self, answer: str) -> int:
        settings = TrainerSettings.read()
        jsonlog.set_level("", settings.log_level)
        taskpath.forget(settings.entrypoint, self._modules)
        link, stream = self._linked(settings)
        control, bulk = (
            Control(Https(link, settings, settings.token()), settings),
            Bulk(stream, Patience(settings.patience_s)),
        )
        with closing(CheckpointStore(settings)) as checkpoints:
            agent = Agent(settings, settings.alone(), control, bulk, checkpoints)
            self._finished = agent.serve(Assignment.told(answer.encode()))
        return 0

    def _linked(self, settings: TrainerSettings) -> tuple[Link, Stream]:
        """Connections that trust the site's CA, kept as long as the aggregator and the CA are the same."""
        ca = settings.ca_file.read_bytes() if settings.ca_file.exists() else b""
        key = settings.aggregator_url, ca
        if key not in self._links:
            trust = Trust(settings)
            self._links[key] = Link(settings.aggregator_url, trust.hub), Stream(trust)
        return self._links[key]


def _left_running() -> bool:
    """Whether a task has left threads or child processes behind."""
    main = threading.main_thread()
    if any(each is not main and each.name not in OURS for each in threading.enumerate()):
        return True
    with suppress(ChildProcessError):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return True
    return False
