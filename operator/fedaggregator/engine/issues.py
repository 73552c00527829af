"""What was issued to whom by URL, since the last commit: told in issues.json beside that round's commit, never a URL.

A delivery is wrapped by `Recorded`, the engine writes what came together. Bounded: each object once, with who may
reach it, and a site's different uploads of one attempt are few.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import Delivery, Holder
from fedapi.wire.commit import CommitRecord
from fedapi.wire.download import Download
from fedapi.wire.issues import Issue, IssueRecord, Method
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal, UploadGrant

log = logging.getLogger(__name__)
Told = Callable[[Method, ObjectRef, Holder, float], None]  # once for each object, and who may reach it
# Different uploads of one site in one attempt. An honest site has one, or one each time that a pod trains anew.
_MOST_UPLOADS = 16
_MOST_HOLDERS = 100_000  # in one record, which has a hundred bytes of each


@dataclass
class _Entry:
    method: Method
    object: ObjectRef
    holders: dict[str, float] = field(default_factory=dict)


class Issues:
    """Of one job, in this process."""

    def __init__(self, clock: Callable[[], float], told: Told) -> None:
        self._clock, self._told = clock, told
        self._begin()

    def _begin(self) -> None:
        self._since = self._clock()
        self._entries: dict[tuple[Method, str], _Entry] = {}
        # By site, and whether for an attempt: of its last attempt, or, since the last commit, for none.
        self._uploads: dict[tuple[str, bool], tuple[Holder, set[str]]] = {}
        self._holders = self._omitted = 0

    def check_room(self, upload: ObjectRef, to: Holder) -> None:
        """RequestRefusedError when a site was granted so many other objects for the same attempt."""
        others = self._granted(to) - {upload.key}
        if len(others) >= _MOST_UPLOADS:
            what = "this attempt" if to.round else "no attempt since the last commit"
            message = f"{len(others)} different objects were granted for {what}, of which one can count"
            raise RequestRefusedError(Refusal(code="TooLarge", message=f"{message}: train no other"))

    def note(self, method: Method, ref: ObjectRef, to: Holder, expires_at: float) -> None:
        """A URL was made; of several for the same the last one counts."""
        if method == "PUT":
            self._uploads[to.client, to.round > 0] = to, self._granted(to) | {ref.key}
            fields = {"site": to.client, "key": ref.key, "size": ref.size, "sha256": ref.sha256, "expires": expires_at}
            log.info("upload granted", extra={"fields": fields})
        entry, holder = self._entries.get((method, ref.key)), to.text()
        if entry is None or holder not in entry.holders:
            if self._holders >= _MOST_HOLDERS:
                self._omitted += 1
                return
            self._holders += 1
            entry = self._entries.setdefault((method, ref.key), _Entry(method, ref))
            self._told(method, ref, to, expires_at)
        entry.holders[holder] = expires_at

    def _granted(self, to: Holder) -> set[str]:
        """Keys of what a site was granted for an attempt; admission refuses those before its last."""
        last, keys = self._uploads.get((to.client, to.round > 0), (to, set()))
        return keys if last == to else set()

    def taken(self, commit: CommitRecord) -> IssueRecord | None:
        """What is to be told beside a commit, which is then forgotten; None: nothing was issued."""
        issues = tuple(
            Issue(method=each.method, object=each.object, holders=each.holders) for each in self._entries.values()
        )
        since, omitted = self._since, self._omitted
        self._begin()
        if not issues:
            return None
        of = {"job_uid": commit.job_uid, "round": commit.round, "attempt": commit.attempt}
        return IssueRecord(**of, since=since, until=self._since, issues=issues, omitted=omitted)


class Recorded:
    """A delivery of which is recorded what it issues."""

    def __init__(self, delivery: Delivery, issues: Issues) -> None:
        self._delivery, self._issues = delivery, issues

    async def offer(self, model: ObjectRef, to: Holder) -> Download:
        """As the port says."""
        offer = await self._delivery.offer(model, to)
        self._issues.note("GET", model, to, offer.expires_at)
        return offer

    async def grant(self, upload: ObjectRef, to: Holder) -> UploadGrant:
        """As the port says."""
        self._issues.check_room(upload, to)
        grant = await self._delivery.grant(upload, to)
        self._issues.note("PUT", upload, to, grant.expires_at)
        return grant

    def arrived(self, upload: ObjectRef) -> None:
        """As the port says."""
        self._delivery.arrived(upload)
