"""Who writes a job's store alone: by a Lease of Kubernetes, taken before the first write and renewed by a thread. Called by __main__.

As in leader election no two machines' clocks are compared: who waits watches the Lease itself, and takes it when it has
not changed for all of its time by his own clock. The times leave a margin on each side, in the order of a holder's life:

    renewal sent     trusted until +10 s     last write arrives until +20 s     another may take it from +30 s on

so the store's clock may be 10 s behind the holder's (fedstore.s3expiring allows 5).
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fedaggregator.errors import FatalError, LeaseConflictError, StatusUnavailableError
from fedapi import names
from fedapi.outcome import Exit
from fedstore.errors import FencedOffError, StoreFailedError

_REFUSED = frozenset({401, 403, 404})  # for good, if they stay: rights or the Lease are missing


@dataclass(frozen=True)
class Terms:
    """Times of a Lease, in seconds."""

    lasts_s: float = names.JOB_LEASE_S  # without a renewal, before another may take it
    trusted_s: float = 10.0  # without a renewal, before its holder stops to write
    renewed_s: float = 3.0  # between two renewals
    patience_s: float = 60.0  # that the API server may refuse, before the process ends


@dataclass(frozen=True)
class Held:
    """A Lease as it is: `version` changes with each write, whoever makes it."""

    holder: str
    version: str
    transitions: int = 0  # how often it was taken; 0: never


class LeaseSink(Protocol):
    """One Lease. StatusUnavailableError where the API server does not answer, or refuses."""

    def read(self) -> Held:
        """As it is now."""

    def write(self, held: Held) -> Held:
        """Sets the holder, and that it was renewed now, if it is still of that version; LeaseConflictError when it is not."""


def _boot_clock() -> float:
    """Seconds since the machine started, those in which it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class JobLease:
    """The fence of one process: fedstore.fencing.Fence."""

    def __init__(
        self,
        sink: LeaseSink,
        me: str,
        terms: Terms | None = None,
        clock: Callable[[], float] = _boot_clock,
    ) -> None:
        self._sink, self._me, self._terms, self._clock = sink, me, terms or Terms(), clock
        self._held: Held | None = None
        self._renewed_at = 0.0  # when the last renewal that was taken was sent
        self._trouble = ""
        self._lock = threading.Lock()  # over renewals: one at a time, and none after the release
        self._ended = threading.Event()
        self.waits_for = ""  # why it is not had yet; for people

    def check(self) -> None:
        """As the port says."""
        held, since = self._held, self._clock() - self._renewed_at
        if held is None:
            raise FencedOffError(f"another aggregator holds the Lease, or may: {self._trouble or 'it was given up'}")
        if since > self._terms.trusted_s:
            why = f": {self._trouble}" if self._trouble else ""
            raise StoreFailedError(
                f"the job's Lease was not renewed for {since:.0f} s, and nothing is written without it{why}"
            )

    def take(self, *, used: Callable[[], bool]) -> None:
        """Waits until it is this process's. `used`: whether the job's store has been written by anybody.

        A Lease that nobody ever had may be one that was deleted and made anew while somebody wrote; only a job that begins need
        not wait for that. FatalError when the API server refuses for too long.
        """
        seen, since, refused_since = None, self._clock(), None
        while not self._ended.is_set():
            try:
                found = self._sink.read()
                now = self._clock()  # after the answer: the holder may have renewed it while that was on its way
                refused_since = None
                if seen is None or found.version != seen.version:
                    seen, since = found, now
                free = not found.holder and (found.transitions or not used())
                if free or now - since > self._terms.lasts_s:
                    self._take(found)
                    self.waits_for = ""
                    return
                self.waits_for = (
                    f"the job's Lease is held by {found.holder or 'nobody known'}, and watched until that is over"
                )
            except LeaseConflictError:
                seen = None
            except StatusUnavailableError as error:
                self.waits_for = f"the job's Lease cannot be had: {error}"
                refused_since = self._refused_since(error, refused_since)
            self._ended.wait(min(1.0, self._terms.renewed_s))

    def _take(self, found: Held) -> None:
        with self._lock:  # so that it is given up again by a release that comes meanwhile
            if not self._ended.is_set():
                self._write(Held(self._me, found.version, found.transitions + 1))

    def _refused_since(self, error: StatusUnavailableError, since: float | None) -> float | None:
        if error.code not in _REFUSED:
            return None
        since = self._clock() if since is None else since
        if self._clock() - since > self._terms.patience_s:
            raise FatalError(Exit.STATUS_REFUSED, f"{self.waits_for}: look at its Role and at the operator") from error
        return since

    def keep(self, lost: Callable[[], None]) -> None:
        """Renews it from now on, in a thread. `lost` is called there when another has it."""

        def run() -> None:
            while not self._ended.wait(self._terms.renewed_s):
                if not self.renew():
                    if not self._ended.is_set():
                        lost()
                    return

        threading.Thread(target=run, name="lease", daemon=True).start()

    def renew(self) -> bool:
        """Once; False when it is lost for good. An API server that does not answer is asked again."""
        with self._lock:
            if self._held is None:
                return False
            try:
                self._write(self._held)
            except LeaseConflictError:
                return self._lost_to_another()
            except StatusUnavailableError as error:
                self._trouble = str(error)
            return True

    def release(self) -> None:
        """Gives it up, so that the next need not wait. Nothing is written after it."""
        self._ended.set()
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                try:
                    self._sink.write(Held("", held.version, held.transitions))
                except (StatusUnavailableError, LeaseConflictError):
                    return  # it runs out

    def _write(self, held: Held) -> None:
        sent = self._clock()
        self._held, self._renewed_at, self._trouble = self._sink.write(held), sent, ""

    def _lost_to_another(self) -> bool:
        """After a conflict: an answer of ours may have been lost, or somebody labelled the Lease; False: it is another's."""
        try:
            found = self._sink.read()
        except (StatusUnavailableError, LeaseConflictError) as error:
            self._trouble = str(error)
            return True  # asked again; until then it is not trusted any longer than before
        if found.holder == self._me:
            self._held = found
            return True
        self._held, self._trouble = None, f"it is {found.holder or 'nobody'}'s now"
        return False
