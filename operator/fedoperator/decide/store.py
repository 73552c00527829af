"""Policy: the claim of the store's volume. Made before there is a model, and never again.

A new claim would be empty: the aggregator would wait for an initial model, which is not made twice. What a missing or
replaced claim means is said instead, and restoring it is left to a person.
"""

from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext
from fedoperator.decide.decision import Key
from fedoperator.decide.facts import Trouble, instant
from fedoperator.decide.reasons import Reason
from fedoperator.decide.view import dig
from fedoperator.desired.store_claim import store_claim


def _live(context: JobContext) -> JsonView | None:
    return context.observed.children.get(Key("PersistentVolumeClaim", context.identity.claim))


def claims(context: JobContext) -> tuple[JsonView, ...]:
    """The claim as it should be; none where the store is a bucket, or the one that held the model is gone."""
    live = _live(context)
    if context.spec.storage.bucket is not None:
        return ()
    if live is None and context.initialized:
        return ()
    return (store_claim(context.observed.job, dig(live, "spec", "resources", "requests", "storage")),)


def kept(context: JobContext, claim: JsonView) -> bool:
    """A claim is never the operator's to delete."""
    del context, claim
    return True


def _replaced(context: JobContext, live: JsonView) -> bool:
    """Whether the claim was made after the initial model had been written: into another one, then."""
    made, done = dig(live, "metadata", "creationTimestamp"), [job.completed for job in context.init_jobs]
    return bool(made) and any(at and instant(made) > at for at in done)


def lost(context: JobContext) -> Trouble | None:
    """That the volume with the models is gone. An aggregator that has found its model has it, wherever that is."""
    if context.spec.storage.bucket is not None or not context.initialized or context.model_served:
        return None
    live, name = _live(context), context.identity.claim
    homeless = any(
        pod.scheduling[0] for pod in context.aggregator_pods
    )  # a claim that is merely unseen holds no pod up
    way_out = "restore it under this name, or create the job anew"
    if live is None and homeless:
        return Trouble(Reason.STORE_LOST, f"PersistentVolumeClaim {name}, which held the models, is gone: {way_out}")
    if live is not None and _replaced(context, live):
        return Trouble(Reason.STORE_LOST, f"PersistentVolumeClaim {name} is younger than the model: {way_out}")
    return None
