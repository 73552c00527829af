"""Carries out a decision: Secrets, objects, suspend flips, deletions, status, events, in this order.

Called by reconcile.py. Nothing is written that is there already. A refused write does not stop the others: it is
remembered, becomes a condition of the job (refusals.py), and is tried again only after a while.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from fedapi import names
from fedapi.crd.job_status import OPERATOR_LEAVES
from fedoperator.cluster.cache import Object
from fedoperator.cluster.credentials import CredentialStore
from fedoperator.cluster.writes import Writer
from fedoperator.decide.model import Decision, Event, Key, Manifest, SecretRequest
from fedoperator.desired.difference import differs
from fedoperator.desired.jobs import JOB_KINDS, belongs_to_queue, created
from fedoperator.errors import OperatorError, RefusedError, RetryLaterError
from fedoperator.refusals import REASON, Refusals

LOG = logging.getLogger(__name__)

WORKLOADS = ("Deployment", *JOB_KINDS)  # they mount Secrets, which therefore come first
OWNED_STATUS = {
    names.JOB_KIND: OPERATOR_LEAVES,
    names.CLIENT_KIND: ("conditions", "active", "accelerators", "observedGeneration"),
}
_STATUS_KEYS = {"conditions": "type", "sites": "name"}

Live = Callable[[Key], Object | None]


@dataclass
class Applied:
    """What a pass did."""

    written: int = 0
    made_secrets: bool = False  # decisions may depend on them: look again
    retry_after_s: list[float] = field(default_factory=list)


class Applier:
    """Writes what differs."""

    def __init__(self, writer: Writer, credentials: CredentialStore, refusals: Refusals) -> None:
        self._writer = writer
        self._credentials = credentials
        self._refusals = refusals

    def apply(self, about: Object, decision: Decision, live: Live) -> Applied:
        """One pass. Raises RetryLaterError, GoneError or UnauthorizedError; RefusedError never."""
        done = Applied()
        if decision.delete_self:
            self._writer.delete(about)
            done.written += 1
            return done
        self._objects(about, (o for o in decision.objects if o["kind"] not in WORKLOADS), live, done)
        if self._secrets(about, decision.secrets, done):
            self._objects(about, (o for o in decision.objects if o["kind"] in WORKLOADS), live, done)
        for name, suspend in decision.suspend.items():
            for job in filter(None, (live(Key(kind, name)) for kind in JOB_KINDS)):  # one: names end in a hash
                if job["spec"].get("suspend", False) != suspend:
                    self._try(about, Key(job["kind"], name), partial(self._writer.suspend, job, suspend=suspend), done)
        for key in decision.delete:
            if (child := live(key)) is not None and "deletionTimestamp" not in child["metadata"]:
                self._try(about, key, partial(self._writer.delete, child), done)
        return done

    def report(self, about: Object, decision: Decision, done: Applied, now: datetime) -> None:
        """Status and events, after everything else."""
        live = {key: v for key, v in (about.get("status") or {}).items() if key in OWNED_STATUS[about["kind"]]}
        status = self._refusals.shown_in(about, live if decision.status is None else decision.status, now)
        events = decision.events
        if _leaves(status) != _leaves(live):
            self._writer.status(about, status)
            done.written += 1
            if refused := self._refusals.messages(about["metadata"]["uid"]):
                events = (*events, Event("Warning", REASON, "; ".join(refused)))
        for event in events:
            try:
                self._writer.event(about, event, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            except OperatorError as error:
                LOG.warning("an event was not recorded: %s", error)

    def _objects(self, about: Object, objects: Iterable[Manifest], live: Live, done: Applied) -> None:
        for manifest in objects:
            key = Key(manifest["kind"], manifest["metadata"]["name"])
            there = live(key)
            if there is not None and "deletionTimestamp" in there["metadata"]:
                continue  # its deletion will be seen, and then it is made anew
            if there is None and key.kind in JOB_KINDS:
                self._try(about, key, partial(self._create, manifest), done)
            elif (there is None or not belongs_to_queue(there)) and differs(manifest, there):
                self._try(about, key, partial(self._writer.apply, manifest), done)
            else:
                self._refusals.cleared(about, key)

    def _create(self, manifest: Manifest) -> None:
        try:
            self._writer.create(created(manifest))
        except RetryLaterError as error:
            if not error.conflict:
                raise  # else somebody was faster, or the watch is behind: the next pass looks again

    def _secrets(self, about: Object, requests: Iterable[SecretRequest], done: Applied) -> bool:
        """Whether all Secrets are there."""
        uid, namespace = about["metadata"]["uid"], about["metadata"]["namespace"]
        known = self._credentials.known(uid)
        missing = [request for request in requests if request.name not in known]
        for request in missing:
            make = partial(self._credentials.make, request, namespace, uid)
            self._try(about, Key("Secret", request.name), make, done)
        left = {request.name for request in missing} - self._credentials.known(uid)
        done.made_secrets = len(left) < len(missing)
        return not left

    def _try(self, about: Object, key: Key, write: Callable[[], object], done: Applied) -> None:
        wait_s = self._refusals.wait_s(about, key)
        if wait_s > 0:
            done.retry_after_s.append(wait_s)
            return
        try:
            write()
        except RefusedError as error:
            LOG.warning("%s %s was refused: %s", key.kind, key.name, error)
            done.retry_after_s.append(self._refusals.refused(about, key, error))
        else:
            self._refusals.cleared(about, key)
            done.written += 1


def _leaves(status: Mapping[str, Any]) -> dict[str, Any]:
    """A status in a form that compares: lists with keys without regard to order."""
    return {
        key: {item[_STATUS_KEYS[key]]: item for item in value} if key in _STATUS_KEYS else value
        for key, value in status.items()
        if value is not None
    }
