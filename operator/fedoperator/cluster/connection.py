"""One connection pool to the API server, with plain dictionaries in and out.

Used by everything in cluster/ that reads or writes. Takes the `kubernetes` client's configuration and pool and leaves
its models aside: they cost more time than the request. Every answer is an object or one of errors.py.
"""

import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import InClusterConfigLoader
from kubernetes.config.kube_config import load_kube_config

from fedapi.jsonvalue import Json, JsonView
from fedoperator.errors import (
    GoneError,
    OperatorError,
    RefusedError,
    RetryLaterError,
    SettingsInvalidError,
    UnauthorizedError,
)

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"  # of an answer: no spec, no data
USER_AGENT = "fedloom-operator"

# The chart's policy about namespaces has not seen a new FederatedJob yet, or no longer sees a deleted one.
_UNSEEN_JOB = "no params found for policy binding"

_TIMEOUT = urllib3.Timeout(connect=5, read=30)  # seconds


@dataclass(frozen=True)
class Connection:
    """A pool of connections and the credentials for them."""

    configuration: Any
    pool: Any  # urllib3.PoolManager
    timeout: urllib3.Timeout = _TIMEOUT
    user_agent: str = USER_AGENT

    @classmethod
    def open(cls, service_account_dir: str, *, connections: int) -> "Connection":
        """In-cluster credentials when there are any, else KUBECONFIG; SettingsInvalidError when there is neither."""
        configuration = _configuration(Path(service_account_dir))
        configuration.connection_pool_maxsize = connections
        return cls(configuration, RESTClientObject(configuration).pool_manager)

    def with_timeout(self, seconds: float) -> "Connection":
        """The same pool, with another limit on the whole of a request."""
        return replace(self, timeout=urllib3.Timeout(total=seconds))

    @property
    def server(self) -> str:
        """Base URL of the API server."""
        return str(self.configuration.host)

    def authorization(self) -> str | None:
        """Value of the Authorization header; a service account's token is read anew every minute."""
        value = self.configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        if value and value.startswith("bearer "):
            value = "Bearer " + value.removeprefix("bearer ")
        return str(value).strip() if value else None

    def tls(self) -> ssl.SSLContext:
        """The same trust and client certificate for another HTTP client (kopf's watches)."""
        context = ssl.create_default_context(cafile=self.configuration.ssl_ca_cert)
        if not self.configuration.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.configuration.cert_file:
            context.load_cert_chain(self.configuration.cert_file, self.configuration.key_file)
        return context

    def request(
        self,
        method: str,
        path: str,
        body: JsonView | None = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """Sends one request, without retries; the answer's JSON."""
        headers = {"Accept": accept, "User-Agent": self.user_agent}
        if authorization := self.authorization():
            headers["Authorization"] = authorization
        if body is not None:
            headers["Content-Type"] = content_type
        url = self.server + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            response = self.pool.request(
                method, url, body=data, headers=headers, timeout=self.timeout, retries=False, redirect=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise RetryLaterError(f"{method} {path}: {error}") from error
        return _answer(f"{method} {path}", response.status, response.data, response.headers)


def _configuration(service_account: Path) -> Any:
    configuration = Configuration()
    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            loader = InClusterConfigLoader(str(service_account / "token"), str(service_account / "ca.crt"))
            loader.load_and_set(configuration)
        else:
            load_kube_config(client_configuration=configuration)
    except ConfigException as error:
        raise SettingsInvalidError(
            f"no way to reach a cluster, neither in-cluster nor by KUBECONFIG: {error}"
        ) from error
    return configuration


def _answer(what: str, status: int, data: bytes, headers: Mapping[str, str]) -> Json:
    try:
        body = json.loads(data) if data else {}
    except ValueError:
        body = {"message": data[:200].decode(errors="replace")}
    if not isinstance(body, dict):
        body = {"message": f"an answer that is no object: {str(body)[:200]}"}
    if 200 <= status < 300:
        return body
    raise _error(what, status, body, headers)


def _error(what: str, status: int, body: JsonView, headers: Mapping[str, str]) -> OperatorError:
    message = str(body.get("message") or f"{what}: HTTP {status}")
    details = body.get("details") or {}
    causes = {cause.get("reason") for cause in details.get("causes") or ()}
    if status == 401:
        return UnauthorizedError(f"{what}: {message}")
    if status == 404 or "NamespaceTerminating" in causes:
        return GoneError(message)
    if status in (408, 409, 410, 429) or status >= 500 or _UNSEEN_JOB in message:
        return RetryLaterError(message, _wait_s(headers, details), conflict=status == 409)
    return RefusedError(message, status)


def _wait_s(headers: Mapping[str, str], details: JsonView) -> float:
    try:
        return float(headers.get("Retry-After") or details.get("retryAfterSeconds") or 0)
    except ValueError:
        return 0.0
