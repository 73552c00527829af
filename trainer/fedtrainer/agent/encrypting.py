"""What encrypts the payloads of an order, where its aggregator asks for that. Called by work.py, once per training.

The keys are drawn here and kept nowhere: a finished update is sent again as the bytes that it is, and one that is trained
again gets another key. Nobody but the aggregator, this site included, can read what it has sent.
"""

import secrets
from typing import TYPE_CHECKING

from fedapi.wire.ciphertext import Place
from fedapi.wire.orders import TrainOrder
from fedapi.wire.update import payloads
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

if TYPE_CHECKING:
    from fedapi.wire.encryption import Encryption

_KEY_BYTES = 32


def encryption(order: TrainOrder, settings: TrainerSettings) -> "dict[str, Encryption]":
    """Of each payload, by name; empty where they are sent as they are.

    BadSettingsError where this installation cannot do what is asked for.
    """
    asked = order.encryption
    if asked is None:
        return {}
    try:
        from fedapi.wire.encryption import Recipient, UnavailableKemError  # noqa: PLC0415 - 7 MB where it is not asked for
    except ImportError as error:
        text = f"storage.clientEncryption {asked.kem}: the package cryptography is missing or too old ({error})"
        raise BadSettingsError(f"{text}: build the task image with fedloom[trainer] of this version") from error
    of = {"job_uid": settings.job_uid, "client": settings.client, "base_sha256": order.base_sha256}
    places = {
        name: Place(round=order.round, attempt=order.attempt, payload=name, **of) for name in payloads(order.training)
    }
    try:
        hub = Recipient(asked.kem, asked.public_key)
        return {name: hub.encryption(place, secrets.token_bytes(_KEY_BYTES)) for name, place in places.items()}
    except UnavailableKemError as error:
        raise BadSettingsError(f"storage.clientEncryption {error}") from error
