"""Connections of the clouds whose libraries speak through requests: how many are kept, and whom they trust. Used by gcs.py and azure.py."""

from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

MOST = 32  # kept open by a client: threads of an aggregator use one store at once


class _Connections(HTTPAdapter):
    """The authority of the credentials wins over REQUESTS_CA_BUNDLE, which requests puts before a session's own."""

    def __init__(self, ca: Path | None) -> None:
        self._ca = ca
        super().__init__(pool_maxsize=MOST)

    def send(self, *args: Any, **settings: Any) -> requests.Response:
        """As requests does it."""
        if self._ca is not None:
            settings["verify"] = str(self._ca)
        return super().send(*args, **settings)


def keep(session: requests.Session, ca: Path | None) -> None:
    """Makes a session speak HTTPS over these."""
    session.mount("https://", _Connections(ca))
