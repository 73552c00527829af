"""What the registry said last about the sites that send heartbeats to it. Read by observe.py, kept up by registration.py.

Speaks to `python -m fedregistry` over HTTPS, by the installation's own CA, with the reader's token. Knows no Kubernetes.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic

import urllib3
from pydantic import ValidationError

from fedapi.crd.flclient import Capability
from fedapi.wire.registry import SITES, Site, Sites
from fedapi.wire.tokens import reader_token, registry_key
from fedoperator.decide.decision import Registered
from fedoperator.errors import RetryLaterError
from fedoperator.key_material import Keys

AWAY_AFTER_S = 120.0  # without an answer; below the five minutes of a site's heartbeat
_TIMEOUT = urllib3.Timeout(connect=5, read=30)
_LONGEST_BYTES = 64 << 20


class SiteRegistry:
    """Thread-safe. Without a URL there is no registry, and nothing is known."""

    def __init__(self, url: str, keys: Callable[[], Keys], clock: Callable[[], float] = monotonic) -> None:
        self._url, self._keys, self._clock = url.rstrip("/"), keys, clock
        self._lock = threading.Lock()
        self._sites: Mapping[str, Site] = {}
        self._read_at: float | None = None
        self._pool: urllib3.PoolManager | None = None

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return bool(self._url)

    def read(self) -> Mapping[str, Site]:
        """Asks it; sites by client id. RetryLaterError when it does not answer."""
        keys = self._keys()
        if self._pool is None:
            self._pool = urllib3.PoolManager(1, cert_reqs="CERT_REQUIRED", ca_cert_data=keys.ca_cert.decode())
        headers = {"Authorization": f"Bearer {reader_token(registry_key(keys.master))}"}
        try:
            answer = self._pool.request(
                "GET", self._url + SITES, headers=headers, timeout=_TIMEOUT, retries=False, preload_content=False
            )
            data = answer.read(_LONGEST_BYTES)
            answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RetryLaterError(f"the registry does not answer: {error}") from error
        if answer.status != 200:
            raise RetryLaterError(f"the registry answers {answer.status}: {data[:300].decode(errors='replace')}")
        try:
            found = {site.client_id: site for site in Sites.told(data).sites}
        except ValidationError as error:
            raise RetryLaterError(f"the registry answers what is no list of sites: {error}") from error
        with self._lock:
            self._sites, self._read_at = found, self._clock()
        return found

    def known(self, namespace: str, name: str) -> Registered | None:
        """What it says about a site."""
        with self._lock:
            site = self._sites.get(f"{namespace}/{name}")
        if site is None:
            return None
        said = site.capability
        capability = Capability(cpu=said.cpu, memory=said.memory, accelerator=said.accelerator)
        return Registered(datetime.fromtimestamp(site.last_seen, UTC), capability)

    def age_s(self) -> float:
        """Seconds since its last answer; infinite before the first."""
        with self._lock:
            return float("inf") if self._read_at is None else self._clock() - self._read_at

    def away(self) -> bool:
        """Whether there is one that has not answered for a while, so that silence says nothing about sites."""
        return self.exists and self.age_s() > AWAY_AFTER_S
