"""What encrypts the update of an order, where its aggregator asks for that. Called by work.py, once per training.

The key is drawn here and kept nowhere: a finished update is sent again as the bytes that it is, and one that is trained
again gets another key. Nobody but the aggregator, this site included, can read what it has sent.
"""

import secrets
from typing import TYPE_CHECKING

from fedapi.wire.ciphertext import Place
from fedapi.wire.site import UPDATE, TrainOrder
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption

_KEY_BYTES = 32


def encryption(order: TrainOrder, settings: TrainerSettings) -> "Encryption | None":
    """None where updates are sent as they are; BadSettingsError where this installation cannot do what is asked for."""
    asked = order.encryption
    if asked is None:
        return None
    try:
        from fedapi.wire.encryption import Recipient, UnavailableKemError  # noqa: PLC0415 - 7 MB where it is not asked for
    except ImportError as error:
        text = f"storage.clientEncryption {asked.kem}: the package cryptography is missing or too old ({error})"
        raise BadSettingsError(f"{text}: build the task image with fedloom[trainer] of this version") from error
    place = Place(
        job_uid=settings.job_uid,
        round=order.round,
        attempt=order.attempt,
        client=settings.client,
        base_sha256=order.model.sha256,
        payload=UPDATE,
    )
    try:
        return Recipient(asked.kem, asked.public_key).encryption(place, secrets.token_bytes(_KEY_BYTES))
    except UnavailableKemError as error:
        raise BadSettingsError(f"storage.clientEncryption {error}") from error
