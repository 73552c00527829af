"""Takes the model of round 0 from the init Job: announced, sent, handed in, committed. Called by the HTTP routes.

Nothing is remembered between the three but what the store holds: a model that was sent before a crash is handed in to
the next aggregator, or sent again, and one that was committed is a duplicate.
"""

from fedaggregator import metrics, refusallog
from fedaggregator.engine import content
from fedaggregator.engine.engine import Engine
from fedaggregator.errors import RequestRefusedError
from fedaggregator.ports import INITIALIZER, Delivery
from fedapi.wire.initial import InitialManifest, InitialUpload
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Receipt, Refusal, UploadGrant
from fedcore.rounds import initial
from fedcore.rounds.events import InitialModelFound
from fedcore.tensors import submodels
from fedcore.tensors.tensorfile import TensorFile
from fedstore.errors import StoreError
from fedstore.objectstore import ObjectStore


class InitialModel:
    """The way in for the model of round 0."""

    def __init__(self, engine: Engine, store: ObjectStore, delivery: Delivery) -> None:
        self._engine, self._store, self._delivery = engine, store, delivery

    async def announced(self, request: InitialUpload) -> UploadGrant:
        """Where to send it; RequestRefusedError when it is not wanted."""
        answer = initial.upload(self._engine.state, request)
        if isinstance(answer, Refusal):
            raise RequestRefusedError(answer)
        try:
            return await self._delivery.grant(answer, INITIALIZER)
        except StoreError as error:
            raise self._unavailable(error) from error

    def check_wanted(self) -> None:
        """RequestRefusedError when a grant is of no use any more."""
        if (refusal := initial.unwanted(self._engine.state)) is not None:
            raise RequestRefusedError(refusal)

    async def keep_only(self, model: ObjectRef) -> None:
        """Deletes other models that were sent and never handed in: task code could fill the volume with them."""
        async with self._engine.lock:
            if self._engine.state.tip is None:
                await self._engine.under_lock(self._engine.interpreter.keep_initial, model)

    async def handed_in(self, manifest: InitialManifest) -> Receipt:
        """Commits it as round 0; durable when it returns."""
        engine = self._engine
        async with engine.lock:
            if (refusal := initial.handed_in(engine.state, manifest)) is not None:
                raise RequestRefusedError(refusal)
            if engine.state.tip is not None:
                return Receipt(duplicate=True)
            table = await self._checked(manifest.payload)
            if (refusal := initial.unfit(engine.state, table)) is not None:
                raise RequestRefusedError(refusal)
            partial = bool(
                table.frozen or table.local or submodels.widths(table)
            )  # later ones cannot be read without it
            await engine.handle_locked(InitialModelFound(engine.clock(), manifest.payload, partial))
        return Receipt()

    async def _checked(self, model: ObjectRef) -> TensorFile:
        try:
            await self._engine.under_lock(self._delivery.arrived, model)
            table = await self._engine.under_lock(content.check_model, self._store, model)
            await self._engine.under_lock(self._engine.interpreter.keep_initial, model)  # not what other grants put
        except StoreError as error:
            raise self._unavailable(error) from error
        return table

    def _unavailable(self, error: StoreError) -> RequestRefusedError:
        self._engine.store_failed(error)
        message = f"the store is not at hand now ({type(error).__name__}): hand it in again"
        return RequestRefusedError(Refusal(code="StoreFull", message=message))

    def refused(self, refusal: Refusal) -> None:
        """Counts and logs it."""
        metrics.REFUSALS.labels(refusal.code).inc()
        refusallog.note("refused", site=INITIALIZER.client, code=refusal.code, reason=refusal.message)
