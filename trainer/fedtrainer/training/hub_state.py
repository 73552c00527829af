"""What a strategy keeps at the hub, at every rank of a site whose training needs it. Called by session.py."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from fedapi.wire.training import TrainingSettings
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import tensors


def opened(path: Path | None, settings: TrainingSettings, ring: Ring) -> Mapping[str, torch.Tensor] | None:
    """Its tensors, read by rank 0; None where the order has none, or the training needs none."""
    if settings.method is None or settings.method.control_variates is None:
        return None
    found = tensors.read(path) if path else None
    if ring.size > 1:
        forms = None if found is None else {name: tensors.form(tensor) for name, tensor in found.items()}
        forms = json.loads(operations.broadcast_text(ring, json.dumps(forms)))
        if forms is None:
            return None
        found = tensors.empty(forms) if found is None else found
        operations.broadcast_tensors(ring, found)
    return found
