"""Leader election by a Lease: `kubernetes.leaderelection` over this package's connection.

Called by lifecycle.py. The library's algorithm, our lock: its own one goes through the client's models, has no
time-outs and lets network errors end the election. Losing the Lease ends the process; that is not decided here.
"""

import json
import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

from kubernetes.leaderelection import electionconfig
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.leaderelectionrecord import LeaderElectionRecord

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.cluster.connection import Connection
from fedoperator.desired.kinds import LEASE
from fedoperator.errors import GoneError, OperatorError, RetryLaterError
from fedoperator.settings import OperatorSettings

log = logging.getLogger(__name__)

_MICRO_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class LeaseLock:
    """What LeaderElection asks of a lock, with one Lease."""

    def __init__(self, connection: Connection, name: str, namespace: str, identity: str) -> None:
        self.name, self.namespace, self.identity = name, namespace, identity
        self._connection = connection
        self._lease: Json = {}
        self._writing = threading.Lock()
        self._written = False  # a write was sent: it may have arrived even where it failed
        self._ended = threading.Event()

    def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        """(True, record), or (False, what the library reads of an ApiException)."""
        try:
            self._lease = self._connection.request("GET", LEASE.path(namespace, name))
        except OperatorError as error:
            code = HTTPStatus.NOT_FOUND if isinstance(error, GoneError) else HTTPStatus.SERVICE_UNAVAILABLE
            return False, SimpleNamespace(body=json.dumps({"code": code}), reason=str(error))
        return True, _record(self._lease.get("spec") or {})

    def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Makes the Lease; False when it exists by now."""
        body = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": _spec(election_record),
        }
        return self._write("POST", LEASE.path(namespace), body)

    def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:
        """Replaces the Lease that was last read; False when somebody else did meanwhile."""
        old = self._lease.get("spec") or {}
        spec = old | _spec(updated_record)
        if old.get("holderIdentity") != spec["holderIdentity"]:
            spec["leaseTransitions"] = int(old.get("leaseTransitions") or 0) + 1
        return self._write("PUT", LEASE.path(namespace, name), self._lease | {"spec": spec})

    def release(self) -> bool:
        """Gives the Lease up if this process holds it, so that another replica need not wait for its end.

        From now on it is neither renewed nor taken; a write under way, which may just take it, is waited for. One that
        had no answer may still arrive: it is met once.
        """
        self._ended.set()
        with self._writing:
            if not self._written:
                return False
        try:
            try:
                return self._freed()
            except RetryLaterError as error:
                return error.conflict and self._freed()
        except OperatorError as error:
            log.info("the Lease was not given up: %s", error)
            return False

    def _freed(self) -> bool:
        path = LEASE.path(self.namespace, self.name)
        lease = self._connection.request("GET", path)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") != self.identity:
            return False
        spec = {k: v for k, v in spec.items() if k not in ("holderIdentity", "acquireTime")}
        self._sent("PUT", path, lease | {"spec": spec})
        return True

    def _write(self, method: str, path: str, body: Json) -> bool:
        with self._writing:
            if self._ended.is_set():
                return False
            self._written = True
            try:
                self._lease = self._sent(method, path, body)
            except OperatorError as error:
                log.info("the Lease was not written: %s", error)
                return False
        return True

    def _sent(self, method: str, path: str, body: Json) -> Json:
        return self._connection.request(method, path, body, query={"fieldManager": names.OPERATOR_MANAGER})


class Election:
    """Runs the election in a thread of its own."""

    def __init__(self, connection: Connection, settings: OperatorSettings, lost: Callable[[], None]) -> None:
        short = connection.with_timeout(max(1.0, settings.lease_renew_deadline_s / 2))
        self._lock = LeaseLock(short, settings.lease_name, settings.namespace, settings.pod_name)
        self._lost = lost
        self._stopping = threading.Event()
        self.leading = threading.Event()
        self._election = LeaderElection(
            electionconfig.Config(
                self._lock,
                lease_duration=settings.lease_duration_s,
                renew_deadline=settings.lease_renew_deadline_s,
                retry_period=settings.lease_retry_s,
                onstarted_leading=self.leading.set,
                onstopped_leading=self._stopped,
            )
        )

    def start(self) -> None:
        """Begins to stand for election."""
        logging.getLogger("leaderelection").setLevel(logging.WARNING)
        threading.Thread(target=self._run, name="election", daemon=True).start()

    def stop(self) -> None:
        """Gives the Lease up, also one that is just being taken. This process does not take it again."""
        self._stopping.set()
        self._lock.release()

    def _run(self) -> None:
        try:
            self._election.run()
        except Exception:
            log.exception("the election failed")
            self._stopped()

    def _stopped(self) -> None:
        if not self._stopping.is_set():
            self._lost()


def _spec(record: LeaderElectionRecord) -> Json:
    return {
        "holderIdentity": record.holder_identity,
        "leaseDurationSeconds": int(record.lease_duration),
        "acquireTime": _to_wire(record.acquire_time),
        "renewTime": _to_wire(record.renew_time),
    }


def _record(spec: Json) -> LeaderElectionRecord:
    duration = spec.get("leaseDurationSeconds")
    return LeaderElectionRecord(
        spec.get("holderIdentity") or None,
        str(duration) if duration else None,
        _from_wire(spec.get("acquireTime")),
        _from_wire(spec.get("renewTime")),
    )


def _to_wire(local: str) -> str:
    """The library's times are local and naive; a Lease's are UTC."""
    return datetime.fromisoformat(local).astimezone(UTC).strftime(_MICRO_TIME)


def _from_wire(text: str | None) -> str | None:
    if not text:
        return None
    return str(datetime.fromisoformat(text).astimezone().replace(tzinfo=None))
