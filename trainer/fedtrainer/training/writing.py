"""What a training has made of the model, as files: the update, and payloads beside it. Written by rank 0; used by session.py."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fedapi.wire.update import UPDATE
from fedtrainer.errors import DivergedError, NotPrivateError
from fedtrainer.ring import operations
from fedtrainer.ring.port import Ring
from fedtrainer.training import entrypoint, site_noise, state, tensors
from fedtrainer.training.border import task_code
from fedtrainer.training.encoding import Encoder
from fedtrainer.training.exchange import Exchange, check_kept
from fedtrainer.training.methods.part import Made
from fedtrainer.training.releases import Protection

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption
    from fedapi.wire.privacy import RecordPrivacy

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """An update that rank 0 has written; at other ranks `file` is an empty one."""

    file: tensors.Written
    samples: int
    metrics: dict[str, float]
    training_s: float
    steps: int | None = None
    privacy: "RecordPrivacy | None" = None  # with privacy.dpSGD: what has been told of one record, this update included
    beside: Mapping[str, tensors.Written] = field(default_factory=dict)  # further payloads, each `payload_file(name)`


def payload_file(name: str) -> str:
    """Name of the file of a payload."""
    return f"{name}.safetensors"


@dataclass(frozen=True)
class Writer:
    """Of one training's end: the model as it is now, and the base that it was trained from."""

    model: torch.nn.Module
    base: Mapping[str, torch.Tensor]
    exchange: Exchange
    entries: Mapping[str, str]  # the state's parameters, by entry
    ring: Ring

    def written(
        self,
        folder: Path | None,
        encryption: "Mapping[str, Encryption]",
        made: Made,
        encoder: Encoder | None,
        sent: frozenset[str],
        protection: Protection | None,
    ) -> tuple[tensors.Written, dict[str, tensors.Written]]:
        """Rank 0 writes the payloads, the update of those tensors, and tells the others when there are none to be had."""
        file, beside, failed = tensors.Written("", 0), dict[str, tensors.Written](), None
        if folder is not None:
            with task_code("state_dict()"):
                trained = self.model.state_dict()
                state.check(trained)
                local = tensors.on_host(trained)
            entrypoint.check_alike(local, self.base)
            check_kept(self.exchange, local, self.base)
            base = {name: self.base[name] for name in sent}
            kept = {name: value for name, value in local.items() if name not in sent | self.exchange.frozen}
            try:
                tensors.check_finite(kept, self.base)
                for name, values in made.payloads.items():
                    beside[name] = tensors.write_beside(folder / payload_file(name), values, encryption.get(name))
                update = folder / payload_file(UPDATE)
                hide = site_noise.protect(protection, self._parameters()) if protection else None
                file = tensors.write_delta(update, local, base, encryption.get(UPDATE), made.instead, encoder, hide)
            except (DivergedError, NotPrivateError) as error:
                failed = error
        if why := operations.broadcast_text(self.ring, str(failed or "")):
            raise failed or DivergedError(why)
        if encoder is not None:
            plain, codec = tensors.plain_size({name: self.base[name] for name in sent}), encoder.compression.codec
            log.info(
                "%s: the update is %d bytes instead of %d, %.2f times smaller",
                codec,
                file.encoded,
                plain,
                plain / file.encoded,
            )
        return file, beside

    def _parameters(self) -> frozenset[str]:
        """Entries of the state that are parameters: they alone are hidden by noise, and sent."""
        return frozenset(name for name in self.entries if self.base[name].is_floating_point())
