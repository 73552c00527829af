"""States that sites entrust: where they are put, which are kept, and how a site gets its own back. Used by sites.py.

Nothing is remembered here: the key of what lies in the store says whose state it is, of which update, and its SHA-256. The
bytes are the site's own secret. A refusal is told and counted, and never held against the site: its training goes on.
"""

import logging
from collections.abc import Iterator

from fedaggregator.engine.engine import Engine
from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import Delivery, Holder
from fedapi.wire import storekey
from fedapi.wire.entrusted import EntrustAnswer, EntrustRequest, Recalled, RecallRequest
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedapi.wire.storekey import EntrustedKey
from fedcore.rounds import entrusting
from fedstore.objectstore import ObjectStore

log = logging.getLogger(__name__)


class EntrustedStates:
    """Of all sites of one job. StoreError: the store does not do it now."""

    def __init__(self, engine: Engine, store: ObjectStore, delivery: Delivery) -> None:
        self._engine, self._store, self._delivery = engine, store, delivery

    async def entrust(self, client: str, asked: EntrustRequest) -> EntrustAnswer:
        """Where to put a state, or, once it is there, that it is; older ones than the site wants kept are deleted each time."""
        answer = entrusting.admitted(self._engine.state, client, asked)
        if isinstance(answer, Refusal):
            raise RequestRefusedError(answer)
        if await self._engine.blocking(self._kept, client, asked):
            return EntrustAnswer()
        return EntrustAnswer(grant=await self._delivery.grant(answer, Holder(client)))

    async def recall(self, client: str, asked: RecallRequest) -> Recalled:
        """Where a site gets back what it entrusted with that update."""
        found = await self._engine.blocking(self._of_update, client, asked)
        if found is None:
            rounds = await self._engine.blocking(self._rounds, client)
            message = f"the hub keeps no state of round {asked.round} attempt {asked.attempt} of site {client!r}, but {rounds}"
            raise RequestRefusedError(Refusal(code="Missing", message=message))
        return Recalled(
            round=asked.round,
            attempt=asked.attempt,
            update_sha256=asked.update_sha256,
            state=await self._delivery.offer(found, Holder(client)),
        )

    # In a thread.

    def _kept(self, client: str, asked: EntrustRequest) -> bool:
        kept = self._of_update(client, asked)
        others = [found for found in self._all(client) if kept is None or found[1] != kept.key]
        self._keep(client, others, asked.keep_last - (kept is not None))
        if kept is None:
            return False
        log.info("state is entrusted", extra={"fields": {"site": client, "round": asked.round, "key": kept.key}})
        return True

    def _keep(self, client: str, found: list[tuple[EntrustedKey, str]], last: int) -> None:
        """Deletes all but the newest, and what the last commit needs or the next may; also where a site never asks for what it has put."""
        needed = [each for each in found if entrusting.needed(self._engine.state, client, each[0])]
        spared = (needed + [each for each in found if each not in needed])[: max(last, len(needed))]
        for each in found:
            if each not in spared:
                self._store.delete(each[1])

    def _of_update(self, client: str, asked: RecallRequest) -> ObjectRef | None:
        """What is there whole of that update: one that was put twice, by a site that was killed between, is there twice."""
        update = (asked.round, asked.attempt, asked.update_sha256)
        for said, key in self._all(client):
            size = self._store.size(key) if (said.round, said.attempt, said.update_sha256) == update else None
            if size is not None and self._arrived(ref := ObjectRef(key=key, sha256=said.sha256, size=size)):
                return ref
        return None

    def _rounds(self, client: str) -> str:
        there = sorted({said.round for said, _ in self._all(client)})
        return f"those of rounds {', '.join(map(str, there))}" if there else "none at all"

    def _arrived(self, ref: ObjectRef) -> bool:
        try:
            self._delivery.arrived(ref)
        except RequestRefusedError:
            return False
        return True

    def _all(self, client: str) -> list[tuple[EntrustedKey, str]]:
        """Newest first."""
        return sorted(self._found(client), key=lambda found: (found[0].round, found[0].attempt), reverse=True)

    def _found(self, client: str) -> Iterator[tuple[EntrustedKey, str]]:
        layout = self._engine.state.layout
        for key in self._store.keys(f"{layout.entrusted(client)}/"):
            said = storekey.parsed(layout, key)
            if isinstance(said, EntrustedKey):
                yield said, key
