"""Signs what a site says: updates, evaluations, failures. Called by control.py, for sites that have a key.

The file is read for each message, so that another key is used as soon as its Secret has it, without a restart. Nothing of a key is
kept or logged; what is signed is in fedapi.wire.statement.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fedapi import names
from fedapi.wire.protocol import DP_SGD, ENCRYPTED_SUMS, FEATURES, KEY, SIGNATURES
from fedapi.wire.secureround import SecureSaid
from fedtrainer.errors import BadSettingsError
from fedtrainer.settings import TrainerSettings

if TYPE_CHECKING:
    from fedapi.wire.signing import Signable, SigningKey


_OF_PACKAGES = {"opacus": DP_SGD, "tenseal": ENCRYPTED_SUMS}  # which an image may lack


def said_features(folder: Path | None) -> tuple[str, ...]:
    """What a site can do: of this trainer, and to sign by the key in that folder, where there is one."""
    can = (*FEATURES, *(feature for package, feature in _OF_PACKAGES.items() if find_spec(package)))
    return can if folder is None else (*can, SIGNATURES, f"{KEY}{site_key(folder).id}")


class Signer:
    """One site's."""

    def __init__(self, settings: TrainerSettings) -> None:
        self._folder, self._job_uid, self._client = settings.signing_key_dir, settings.job_uid, settings.client
        if self._folder is not None:
            site_key(self._folder)  # what is wrong with it is told before anything is trained

    @property
    def features(self) -> tuple[str, ...]:
        """What the site can do."""
        return said_features(self._folder)

    def signed(self, message: "Signable") -> "Signable":
        """The message with the site's signature; as it is, where the site has no key."""
        if self._folder is None:
            return message
        from fedapi.wire.signing import signed  # noqa: PLC0415 - 7 MB where nothing is signed

        return signed(site_key(self._folder), message)

    def secure(self, said: SecureSaid) -> SecureSaid:
        """The same of what a site says of its part in a sum. A question alone is not signed."""
        if self._folder is None or said.says is None:
            return said
        from fedapi.wire.signing import signed_secure  # noqa: PLC0415 - as above

        return signed_secure(site_key(self._folder), self._job_uid, self._client, said)


def site_key(folder: Path) -> "SigningKey":
    """The key in that folder. BadSettingsError where there is none that can be used."""
    path = folder / names.FILE_SIGNING_KEY
    try:
        from fedapi.wire.signing import SigningKey, UnusableKeyError  # noqa: PLC0415
    except ImportError as error:
        text = f"{names.ENV_SIGNING_KEY_DIR}: the package cryptography is missing or too old ({error})"
        raise BadSettingsError(f"{text}: build the task image with fedloom[trainer] of this version") from error
    try:
        return SigningKey.of_pem(path.read_bytes())
    except OSError as error:
        text = f"signing key: {path} is not readable ({error.strerror})"
        raise BadSettingsError(f"{text}: mount the Secret that `fedloom site key new` made") from None
    except UnusableKeyError as error:
        raise BadSettingsError(f"signing key: {path}: {error}") from None
