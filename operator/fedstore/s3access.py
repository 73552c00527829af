"""How an S3 server is spoken to with what credentials say: the SDK's client, and what sends beside it. Used by s3.py."""

import math
from collections.abc import Mapping
from pathlib import Path

import boto3
from botocore.config import Config

from fedapi.wire.location import S3
from fedstore import s3errors
from fedstore.credentials import CA_FILE
from fedstore.errors import StoreDeniedError, UnknownStoreError
from fedstore.s3expiring import ExpiringPuts

_CONNECT_S, _SILENCE_S = 10, 60  # the longest wait for a connection, and for the next bytes on one
_TRIES = 4  # of a request
_CONNECTIONS = 64
_KEY_ID, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_DEFAULT_REGION = "us-east-1"  # what other servers than Amazon's take


class Access:
    """A client with what the files of credentials say."""

    def __init__(self, place: S3, folder: Path | None, files: Mapping[str, str]) -> None:
        self.ca = files.get(CA_FILE, "")
        missing = [name for name in (_KEY_ID, _SECRET) if not files.get(name)]
        if len(missing) == 1 or (missing and _TOKEN in files):
            raise StoreDeniedError(f"the folder of credentials {folder} lacks {missing[0]}")
        try:
            session = boto3.Session(
                files.get(_KEY_ID),
                files.get(_SECRET),
                files.get(_TOKEN),
                region_name=place.region or (_DEFAULT_REGION if place.endpoint else None),
            )
            self._credentials = session.get_credentials()
            self.client = session.client(
                "s3",
                endpoint_url=place.endpoint or None,
                verify=str(folder / CA_FILE) if folder and self.ca else None,
                config=_config(path_style=bool(place.endpoint)),
            )
            self.expiring = ExpiringPuts(str(folder / CA_FILE) if folder and self.ca else None)
        except ValueError as error:
            raise UnknownStoreError(f"{place.text()}: {error}") from error
        except s3errors.SDK_ERRORS as error:
            raise s3errors.typed(
                error, place.text(), f"the folder {folder}" if folder else "the environment"
            ) from error

    def expires_at(self) -> float:
        """When the credentials end, and with them the URLs that they signed; infinite for keys."""
        until = getattr(self._credentials, "_expiry_time", None)  # of those that the SDK renews
        return until.timestamp() if until else math.inf


def _config(*, path_style: bool) -> Config:
    return Config(
        signature_version="s3v4",  # else URLs are signed by the old way, which binds no header
        connect_timeout=_CONNECT_S,
        read_timeout=_SILENCE_S,
        tcp_keepalive=True,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": _TRIES},
        request_checksum_calculation="when_required",  # they are computed here
        response_checksum_validation="when_required",  # readers compare digests
        s3={
            "addressing_style": "path" if path_style else "auto",
            "payload_signing_enabled": False,  # the checksum is signed; it would be hashed twice
        },
    )
