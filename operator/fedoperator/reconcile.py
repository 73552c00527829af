"""One look at one object: observe, decide, apply. Called by workers.py, serially per object.

Level-triggered: nothing is remembered between looks that a restart could lose, but for what saves requests. Returns
when to look again; raises what errors.py holds.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from typing import Protocol

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.apply import Applied, Applier
from fedoperator.cluster.cache import Cache
from fedoperator.cluster.observe import Observer
from fedoperator.cluster.podevents import RECHECK_S as LOOK_UP_S
from fedoperator.cluster.podevents import PodEvents
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.decide import podless
from fedoperator.decide.decision import Decision, Key, Observed, ObservedClient
from fedoperator.queueing import WorkKey
from fedoperator.refusals import Refusals
from fedoperator.stuck import PATIENCE_S, RECHECK_S, stuck_for_s

log = logging.getLogger(__name__)

OUR_CONTROLLER = (None, names.ANNOTATION_CONTROLLER)


class DecideJob(Protocol):
    """fedoperator.decide.job.decide."""

    def __call__(self, observed: Observed, now: datetime) -> Decision:
        """What must be true next."""


class DecideClient(Protocol):
    """fedoperator.decide.client.decide_client."""

    def __call__(self, observed: ObservedClient, now: datetime) -> Decision:
        """What must be true next."""


@dataclass
class Reconciler:
    """Everything that a look needs."""

    cache: Cache
    observer: Observer
    applier: Applier
    credentials: SecretStore
    refusals: Refusals
    pod_events: PodEvents
    decide_job: DecideJob
    decide_client: DecideClient
    now: Callable[[], datetime]
    _uids: dict[WorkKey, str] = field(default_factory=dict)
    _checked: dict[str, float] = field(default_factory=dict)  # job uid -> when stuck pods last had Secrets checked
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self, key: WorkKey) -> float | None:
        """Seconds after which to look again; None: the object is gone, or somebody else's."""
        body = self.cache.get(key.kind, key.namespace, key.name)
        self._track(key, body)
        if body is None or "deletionTimestamp" in body["metadata"]:
            return None
        if key.kind == names.CLIENT_KIND:
            return self._client(body)
        if body["spec"].get("managedBy") not in OUR_CONTROLLER:
            return None
        return self._job(body)

    def _client(self, body: Json) -> float:
        now = self.now()
        refused = self.refusals.known(body["metadata"]["uid"])
        decision = self.decide_client(self.observer.client(body, refused), now)
        again_s = self._carry_out(body, decision, now)
        return again_s if self.refusals.known(body["metadata"]["uid"]) == refused else 0.0

    def _job(self, body: Json) -> float:
        now = self.now()
        uid = body["metadata"]["uid"]
        refused = self.refusals.known(uid)
        observed = self.observer.job(body, self.credentials.known(uid), refused)
        stuck_check_s = self._check_stuck(uid, observed, now)
        if lacking := podless.lacking(observed, now):
            observed = replace(observed, podless=self.pod_events.refusals(lacking))
        decision = self.decide_job(observed, now)
        again_s = min(self._carry_out(body, decision, now), LOOK_UP_S if lacking else float("inf"))
        told_s = float("inf") if self.refusals.known(uid) == refused else 0.0  # conditions say it
        return min(again_s, stuck_check_s, told_s)

    def _carry_out(self, body: Json, decision: Decision, now: datetime) -> float:
        namespace = body["metadata"]["namespace"]

        def live(key: Key) -> Json | None:
            return self.cache.get(key.kind, namespace, key.name)

        done: Applied = self.applier.apply(body, decision, live)
        if not decision.delete_self:
            self.applier.report(body, decision, done, now)
        again_s = [*done.retry_after_s, decision.requeue_after, 0.0 if done.made_secrets else None]
        return min((s for s in again_s if s is not None), default=float("inf"))

    def _check_stuck(self, uid: str, observed: Observed, now: datetime) -> float:
        """Has Secrets checked when a pod waits too long; returns when to look for that again."""
        waited_s = stuck_for_s(observed.pods, now)
        if waited_s is None:
            return float("inf")
        if waited_s < PATIENCE_S:
            return PATIENCE_S - waited_s + 0.5
        if monotonic() - self._checked.get(uid, -RECHECK_S) >= RECHECK_S:
            log.info("a pod waits for a volume or a Secret: checking that the job's Secrets exist")
            self._checked[uid] = monotonic()
            self.credentials.forget(uid)
        return RECHECK_S

    def _track(self, key: WorkKey, body: Json | None) -> None:
        """Forgets what was remembered about an object that is gone, or was replaced under its name."""
        uid = body["metadata"]["uid"] if body else ""
        with self._lock:
            old = self._uids.pop(key, uid)
            if uid:
                self._uids[key] = uid
        if old and old != uid:
            self.credentials.forget(old)
            self.refusals.forget(old)
            self.observer.forget(old)
            self._checked.pop(old, None)
