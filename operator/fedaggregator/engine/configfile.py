"""The job's configuration file, read anew when it changes. Called by the engine before every plan and while waiting."""

import hashlib
import logging
import os
from pathlib import Path

from pydantic import ValidationError

from fedaggregator.errors import FatalError, TooOldError, faults
from fedapi.outcome import Exit
from fedapi.wire.ciphertext import Kem
from fedapi.wire.job import JobConfig
from fedcore.strategies.table import UnknownStrategyError, rules

log = logging.getLogger(__name__)


class ConfigFile:
    """A mounted file that is replaced by rename; a version that cannot be read is logged and the last one stays."""

    def __init__(self, path: Path, job_uid: str) -> None:
        self._path, self._uid = path, job_uid
        self._seen: tuple[int, int, int] | None = None
        self.newest: JobConfig
        self.sha256: str  # of the file that it was read from

    def first(self) -> JobConfig:
        """The configuration at start; FatalError when there is none."""
        self._seen = self._version()
        try:
            return self._parsed()
        except UnknownStrategyError as error:
            raise TooOldError(str(error)) from error
        except (OSError, ValueError) as error:
            raise FatalError(Exit.BAD_SETTINGS, f"{self._path}: {_short(error)}") from error

    def changed(self) -> JobConfig | None:
        """A configuration that was not seen before, or None."""
        version = self._version()
        if version is None or version == self._seen:
            return None
        self._seen = version
        try:
            return self._parsed()
        except (OSError, ValueError) as error:
            log.warning("new job configuration is not usable", extra={"fields": {"reason": _short(error)}})
            return None

    def _version(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 - follows the link of the mounted folder, every time
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _parsed(self) -> JobConfig:
        data = self._path.read_bytes()
        config = JobConfig.model_validate_json(data)
        if config.uid != self._uid:
            raise ValueError(f"uid {config.uid!r} is another job's, this one is {self._uid!r}")
        rules(config.strategy)  # UnknownStrategyError
        if config.encryption is not None:
            _check_available(config.encryption)
        self.newest, self.sha256 = config, hashlib.sha256(data).hexdigest()
        return config


def _check_available(kem: Kem) -> None:
    """UnavailableKemError where sites would be asked for what cannot be read here."""
    from fedapi.wire.encryption import HubKey  # noqa: PLC0415 - 7 MB and 30 ms where nothing is encrypted

    HubKey(b"").recipient(kem)


def _short(error: Exception) -> str:
    return faults(error) if isinstance(error, ValidationError) else str(error)
