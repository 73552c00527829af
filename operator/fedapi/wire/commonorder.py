"""What all sites of an attempt whose updates are summed under masks are ordered alike. Pure; of hub and site alike.

A hub that gives one site another model, or has all others take steps of no length, learns that one's update from the sum. So the digest
of what has to be common is in the terms, which all keys and signatures are bound to, and each site compares its own order with it.
"""

import hashlib

from fedapi.wire.compression import Encoding
from fedapi.wire.message import Message, Sha256
from fedapi.wire.orders import TrainOrder
from fedapi.wire.plan import PlanRecord
from fedapi.wire.privacy import Mechanism
from fedapi.wire.secureround import Names, SecurePlan
from fedapi.wire.training import TrainingOverride, TrainingSettings


class CommonOrder(Message):
    """Without what is a site's own: how many steps of which batches (clients.overrides)."""

    model_sha256: Sha256
    encoding: Encoding | None
    initial_sha256: Sha256 | None
    training: TrainingSettings
    tensors: Names = None
    privacy: Mechanism | None

    def sha256(self) -> str:
        """What the terms have of it."""
        return hashlib.sha256(b"fedloom secagg order\0" + self.canonical()).hexdigest()


def of_plan(plan: PlanRecord, secure: SecurePlan) -> CommonOrder:
    """As the hub orders it."""
    is_encoded = plan.broadcast is not None and plan.reference is None
    return CommonOrder(
        model_sha256=(plan.reference or plan.fetched).sha256,
        encoding=plan.broadcast.encoding if plan.broadcast and is_encoded else None,
        initial_sha256=plan.initial.sha256 if plan.initial else None,
        training=_shared(plan.training),
        tensors=secure.tensors,
        privacy=plan.privacy,
    )


def of_order(order: TrainOrder) -> CommonOrder:
    """As a site was told it."""
    secure = order.secure
    return CommonOrder(
        model_sha256=order.model.sha256,
        encoding=order.encoded.encoding if order.encoded else None,
        initial_sha256=order.initial.sha256 if order.initial else None,
        training=_shared(order.training),
        tensors=secure.tensors if secure else None,
        privacy=secure.privacy if secure else None,
    )


def _shared(training: TrainingSettings) -> TrainingSettings:
    """`training` with the defaults of what clients.overrides may say of a site."""
    return training.model_copy(
        update={name: TrainingSettings.model_fields[name].default for name in TrainingOverride.model_fields}
    )
