"""Carries out a decision: Secrets, objects, suspend flips, deletions, status, events, in this order.

Called by reconcile.py. Nothing is written that is there already, and nothing at all to an object of somebody else
(desired/ownership.py). A refused write does not stop the others: it is remembered (refusals.py), told to the next
decision, and tried again only after a while. While a name is taken, no workload is made that would use it.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from fedapi import names
from fedapi.crd.job_status import OPERATOR_LEAVES
from fedapi.jsonvalue import Json, JsonView
from fedoperator.cluster.secret_store import SecretStore
from fedoperator.cluster.writes import Writer
from fedoperator.decide.decision import Decision, Event, Key
from fedoperator.decide.reasons import EventReason
from fedoperator.desired.difference import differs
from fedoperator.desired.jobs import belongs_to_queue, created
from fedoperator.desired.kinds import BY_KIND, JOB_KINDS
from fedoperator.desired.ownership import Standing, lost_labels, standing
from fedoperator.desired.secret_requests import SecretRequest
from fedoperator.desired.takeback import TakeBack, taken_back
from fedoperator.errors import AwaitedError, ForeignError, GoneError, OperatorError, RefusedError, RetryLaterError
from fedoperator.refusals import Refusals

log = logging.getLogger(__name__)

SOON_S = 2.0  # until an object that is in the way is looked at again: it is going, or the watch is behind
OWNED_STATUS = {
    names.JOB_KIND: OPERATOR_LEAVES,
    names.CLIENT_KIND: (
        "conditions",
        "active",
        "accelerators",
        "capability",
        "participation",
        "anomalies",
        "observedGeneration",
    ),
}
_STATUS_KEYS = {"conditions": "type", "sites": "name"}

Live = Callable[[Key], Json | None]


@dataclass
class Applied:
    """What a pass did."""

    written: int = 0
    made_secrets: bool = False  # decisions may depend on them: look again
    foreign: bool = False  # a name that the job needs is somebody else's
    events: list[Event] = field(default_factory=list)
    retry_after_s: list[float] = field(default_factory=list)


class Applier:
    """Writes what differs."""

    def __init__(self, writer: Writer, credentials: SecretStore, refusals: Refusals) -> None:
        self._writer = writer
        self._credentials = credentials
        self._refusals = refusals

    def apply(self, about: Json, decision: Decision, live: Live) -> Applied:
        """One pass. Raises RetryLaterError, GoneError or UnauthorizedError; RefusedError and ForeignError never."""
        done = Applied()
        if decision.delete_self:
            self._writer.delete(about)
            done.written += 1
            return done
        self._refusals.keep(about["metadata"]["uid"], _concerned(decision))
        self._objects(about, (o for o in decision.objects if not BY_KIND[o["kind"]].workload), live, done)
        if self._secrets(about, decision.secrets, done):
            self._objects(about, (o for o in decision.objects if BY_KIND[o["kind"]].workload), live, done)
        for name, suspend in decision.suspend.items():
            for job in filter(None, (live(Key(kind, name)) for kind in JOB_KINDS)):  # one: names end in a hash
                if job["spec"].get("suspend", False) != suspend:
                    self._try(about, Key(job["kind"], name), partial(self._writer.suspend, job, suspend=suspend), done)
        for key in decision.delete:
            if (child := live(key)) is not None and "deletionTimestamp" not in child["metadata"]:
                self._try(about, key, partial(self._writer.delete, child), done)
        return done

    def report(self, about: Json, decision: Decision, done: Applied, now: datetime) -> None:
        """Status and events, after everything else."""
        live = {key: v for key, v in (about.get("status") or {}).items() if key in OWNED_STATUS[about["kind"]]}
        if decision.status is not None and _leaves(decision.status) != _leaves(live):
            self._writer.status(about, decision.status)
            done.written += 1
        for event in (*decision.events, *done.events):
            try:
                self._writer.event(about, event, now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
            except GoneError as error:
                log.debug("an event was not recorded in a namespace that is gone, or going: %s", error)
            except OperatorError as error:
                log.warning("an event was not recorded: %s", error)

    def _objects(self, about: Json, objects: Iterable[JsonView], live: Live, done: Applied) -> None:
        for manifest in objects:
            key = _key(manifest)
            there = live(key)
            if there is None:
                if not (done.foreign and BY_KIND[key.kind].workload):
                    self._try(about, key, partial(self._make, about, manifest, done), done)
            elif "deletionTimestamp" not in there["metadata"]:  # else: it will be seen, and then it is made anew
                self._present(about, manifest, there, done)
            done.foreign = done.foreign or self._refusals.foreign_name(about, key)

    def _present(self, about: Json, manifest: JsonView, there: Json, done: Applied) -> None:
        """An object that has the name: mended where it is ours, left alone where it is not."""
        key = _key(manifest)
        whose = standing(manifest, there)
        if whose is Standing.FOREIGN:
            self._try(about, key, partial(_leave_alone, manifest, there), done)
        elif whose is Standing.OURS:
            self._mend(about, manifest, there, done)

    def _mend(self, about: Json, manifest: JsonView, there: Json, done: Applied) -> None:
        """Writes where one of our leaves differs, and takes back what others set where that is wholly ours."""
        key, queued = _key(manifest), belongs_to_queue(there)
        taken = None if queued else taken_back(manifest, there)
        if taken is not None and (wait_s := self._refusals.contest_wait_s(about, key)) > 0:
            taken = None
            done.retry_after_s.append(wait_s)
        if queued and (labels := lost_labels(manifest, there)):
            self._try(about, key, partial(self._writer.merge, there, {"metadata": {"labels": labels}}), done)
        elif not queued and (taken or differs(manifest, there)):
            self._try(about, key, partial(self._write, about, manifest, there, taken, done), done)
        else:
            self._refusals.cleared(about, key)

    def _write(self, about: Json, manifest: JsonView, there: Json, taken: TakeBack | None, done: Applied) -> None:
        if taken is not None and taken.patch:
            self._writer.merge(there, taken.patch, as_seen=True)
        if differs(manifest, there) or (taken is not None and not taken.patch):
            self._writer.apply(manifest, there)
        if taken is not None:
            self._refusals.contested(about, _key(manifest))
            done.events.append(Event("Warning", EventReason.TAKEN_BACK, taken.told(*_words(manifest))))

    def _make(self, about: Json, manifest: JsonView, done: Applied) -> None:
        """Creates the object. Where the name is taken by one that the watch does not see, looks whose it is."""
        try:
            if BY_KIND[manifest["kind"]].job:
                self._writer.create(created(manifest))
            else:
                self._writer.make(manifest)
        except RetryLaterError as error:
            if not error.conflict:
                raise
            self._hidden(about, manifest, done)

    def _hidden(self, about: Json, manifest: JsonView, done: Applied) -> None:
        try:
            there = self._writer.read(manifest)
        except GoneError:
            done.retry_after_s.append(SOON_S)
            return
        whose = standing(manifest, there)
        if whose is Standing.FOREIGN:
            _leave_alone(manifest, there)
        if whose is Standing.OURS and "deletionTimestamp" not in there["metadata"]:
            self._writer.take(there)  # back in the cache; in the watch as soon as it has its labels again
            self._mend(about, manifest, there, done)
        else:
            done.retry_after_s.append(SOON_S)

    def _secrets(self, about: Json, requests: Iterable[SecretRequest], done: Applied) -> bool:
        """Whether all Secrets are there."""
        uid, namespace = about["metadata"]["uid"], about["metadata"]["namespace"]
        job_made = datetime.fromisoformat(about["metadata"]["creationTimestamp"])
        known = self._credentials.known(uid)
        missing = [request for request in requests if request.name not in known]
        for request in missing:
            make = partial(self._credentials.make, request, namespace, uid, job_made)
            self._try(about, Key("Secret", request.name), make, done)
        left = {request.name for request in missing} - self._credentials.known(uid)
        done.made_secrets = len(left) < len(missing)
        return not left

    def _try(self, about: Json, key: Key, write: Callable[[], object], done: Applied) -> None:
        wait_s = self._refusals.wait_s(about, key)
        if wait_s > 0:
            done.retry_after_s.append(wait_s)
            return
        try:
            write()
        except AwaitedError as error:
            log.info("%s %s waits: %s", key.kind, key.name, error)
            done.retry_after_s.append(error.after_s)
        except ForeignError as error:
            done.retry_after_s.append(self._refusals.foreign(about, key, error))
        except RefusedError as error:
            log.warning("%s %s was refused: %s", key.kind, key.name, error)
            done.retry_after_s.append(self._refusals.refused(about, key, error))
        else:
            self._refusals.cleared(about, key)
            done.written += 1


def _key(manifest: JsonView) -> Key:
    return Key(*_words(manifest))


def _words(manifest: JsonView) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _concerned(decision: Decision) -> set[Key]:
    """Objects that the decision is about."""
    flipped = {Key(kind, name) for kind in JOB_KINDS for name in decision.suspend}
    named = {Key("Secret", request.name) for request in decision.secrets}
    return {*map(_key, decision.objects), *decision.delete, *flipped, *named}


def _leave_alone(manifest: JsonView, there: Json) -> None:
    """Raises ForeignError with what is in the way, and the way out."""
    kind, name = _words(manifest)
    owner = next((r for r in there["metadata"].get("ownerReferences") or () if r.get("controller")), None)
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "was not made by this job"
    way_out = "it is left alone: delete or rename it, or create the job under another name"
    raise ForeignError(f"{kind} {name} exists already and {whose}; {way_out}")


def _leaves(status: JsonView) -> Json:
    """A status in a form that compares: lists with keys without regard to order."""
    return {
        key: {item[_STATUS_KEYS[key]]: item for item in value} if key in _STATUS_KEYS else value
        for key, value in status.items()
        if value is not None
    }
