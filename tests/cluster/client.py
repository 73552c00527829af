"""The few API calls that the harness makes itself, with the standard library alone.

Used while a cluster comes up (ready? node ready? default objects), by `volumes` to provision and by
`pulls` to make the node pull. Tests use kubectl or the Python client instead.
"""

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.errors import ClusterError, NoAnswerError

_NOT_NOW = {429, 500, 502, 503, 504}  # as while etcd waits for a slow disk
_PATIENCE_S, _PAUSE_S = 120.0, 0.5


@dataclass(frozen=True)
class Client:
    server: str
    pki: Path
    identity: str = "admin"

    def _open(self, request: urllib.request.Request, timeout_s: float) -> http.client.HTTPResponse:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / f"{self.identity}.crt", self.pki / f"{self.identity}.key")
        # no proxy, whatever the environment says: the server is on this machine
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        opener.addheaders = [("User-Agent", f"fedloom-test-cluster/{self.identity}")]
        what = f"{request.get_method()} {request.selector}"
        try:
            response: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")[:300]
            kind = NoAnswerError if error.code in _NOT_NOW else ClusterError
            raise kind(f"{what}: {error.code} {text}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{what}: {error}") from error
        return response

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: str = "application/json",
        patience_s: float = _PATIENCE_S,
    ) -> bytes:
        """Asks until it is answered. It may so arrive twice: what makes something is best applied."""
        until = time.monotonic() + patience_s
        while True:
            try:
                return self._once(method, path, body, content)
            except NoAnswerError:
                if time.monotonic() >= until:
                    raise
            time.sleep(_PAUSE_S)

    def _once(self, method: str, path: str, body: object, content: str) -> bytes:
        request = urllib.request.Request(self.server + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", content)
        try:
            with self._open(request, timeout_s=10) as response:
                return response.read()
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswerError(f"{method} {path}: {error}") from error

    def get(self, path: str) -> Any:
        return json.loads(self.request("GET", path))

    def stream(self, path: str) -> Iterator[bytes]:
        """The lines of a watch, until the server ends it."""
        try:
            with self._open(urllib.request.Request(self.server + path), timeout_s=900) as response:
                yield from response
        except (OSError, http.client.HTTPException) as error:
            raise ClusterError(f"watch {path}: {error}") from error

    def apply(self, path: str, body: dict[str, Any]) -> None:
        """Server-side apply of one object at its own path."""
        url = f"{path}/{body['metadata']['name']}?fieldManager=test-cluster&force=true"
        self.request("PATCH", url, body, content="application/apply-patch+yaml")

    def answers(self, path: str, patience_s: float = 0) -> bool:
        try:
            self.request("GET", path, patience_s=patience_s)
        except ClusterError:
            return False
        return True
