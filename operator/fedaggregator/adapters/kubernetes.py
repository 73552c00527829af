"""Status, heartbeats and the job's Lease on Kubernetes, by server-side apply. The only module here that knows the Kubernetes client.

Every status apply names metadata.uid and the resourceVersion that was read with that uid: on the status of a custom
resource the API server ignores a wrong uid, but not a wrong version, so a recreated job is never written to.
A site's Lease is renewed by the aggregator on the site's behalf (placement Local); raw dictionaries, no client models.
"""

import json
from datetime import UTC, datetime, timedelta

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from fedaggregator.errors import LeaseConflictError, StatusUnavailableError
from fedaggregator.lease import Held
from fedapi import names
from fedapi.jsonvalue import Json, JsonView

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_CONFLICT, _TRIES = 409, 5
_DELETED = frozenset({401, 403, 404})  # the account and its rights go with the job, some of them before its pod
_TIMEOUT_S = 10


class _Api:
    """The API server, with the pod's service account."""

    def __init__(self, api: client.ApiClient | None) -> None:
        if api is None:
            config.load_incluster_config()
            api = client.ApiClient()
        self._api = api

    def apply(self, path: str, body: JsonView) -> tuple[int, Json]:
        """Server-side apply: status code and JSON."""
        return self.call("PATCH", path, json.dumps(body), ("fieldManager", names.AGGREGATOR_MANAGER), ("force", "true"))

    def call(self, method: str, path: str, body: str | None, *query: tuple[str, str]) -> tuple[int, Json]:
        """Status code and JSON of a request."""
        headers = {"Accept": "application/json"} | ({"Content-Type": _APPLY} if body else {})
        request = self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._api.call_api(*request, _request_timeout=_TIMEOUT_S)
            return answer.status, json.loads(answer.read())
        except (ApiException, HTTPError, OSError, ValueError) as error:
            raise StatusUnavailableError(f"{path}: {type(error).__name__}") from error


class KubernetesStatus:
    """Writes `.status` of one FederatedJob and Leases of its sites."""

    def __init__(self, namespace: str, job: str, uid: str, api: client.ApiClient | None = None) -> None:
        self._namespace, self._job, self._uid, self._api = namespace, job, uid, _Api(api)
        self._version = ""  # the job's resourceVersion after our last write

    def job_deleted(self) -> bool:
        """Whether it is gone, going or recreated. Asked by a process that is stopped."""
        try:
            code, answer = self._api.call("GET", self._path(), None)
        except StatusUnavailableError:
            return False
        if code >= 300:
            return code in _DELETED
        metadata = answer["metadata"]
        return metadata["uid"] != self._uid or "deletionTimestamp" in metadata

    def publish(self, status: JsonView) -> None:
        """Applies the aggregator's leaves. Another writer's change in between makes it read and apply again."""
        path = self._path()
        for _ in range(_TRIES):
            metadata = {"name": self._job, "namespace": self._namespace, "uid": self._uid}
            metadata["resourceVersion"] = self._version or self._read_version(path)
            body = {
                "apiVersion": names.API_VERSION,
                "kind": names.JOB_KIND,
                "metadata": metadata,
                "status": dict(status),
            }
            code, answer = self._api.apply(f"{path}/status", body)
            if code < 300:
                self._version = str(answer["metadata"]["resourceVersion"])
                return
            self._version = ""
            if code != _CONFLICT:
                raise StatusUnavailableError(f"status: {code} {answer.get('message', '')}", code)
        raise StatusUnavailableError(f"status: {_TRIES} conflicts in a row")

    def last(self) -> JsonView:
        """As the API server has it now; a job that was recreated is another one."""
        code, answer = self._api.call("GET", self._path(), None)
        if code >= 300 and code not in _DELETED:
            raise StatusUnavailableError(f"job {self._job}: {code} {answer.get('message', '')}", code)
        ours = code < 300 and answer["metadata"]["uid"] == self._uid
        return (answer.get("status") or {}) if ours else {}

    def heard(self, client: str, ago_s: float) -> None:
        """Renews the site's Lease, unless the aggregator of another job did so within the time of a renewal.

        Asked is the API server's memory, not its store: sites that many jobs share cost one write a minute, not one each.
        """
        name, heard = names.site_lease_name(client), datetime.now(UTC) - timedelta(seconds=ago_s)
        path = _lease_path(self._namespace, name)
        code, there = self._api.call("GET", path, None, ("resourceVersion", "0"))
        if code < 300 and self._renewed_by_another(there, heard):
            return
        spec = {
            "holderIdentity": names.aggregator_name(self._job),
            "leaseDurationSeconds": names.SITE_LEASE_ACTIVE_S,
            "renewTime": _micro_time(heard),
        }
        code, answer = self._api.apply(path, _lease({"name": name, "namespace": self._namespace}, spec))
        if code >= 300:
            raise StatusUnavailableError(f"lease {name}: {code} {answer.get('message', '')}", code)

    def _renewed_by_another(self, lease: JsonView, heard: datetime) -> bool:
        spec = lease.get("spec") or {}
        renewed = spec.get("renewTime")
        if not renewed or spec.get("holderIdentity") in (None, names.aggregator_name(self._job)):
            return False
        since_s = (heard - datetime.fromisoformat(renewed)).total_seconds()
        return 0 <= since_s < names.SITE_LEASE_RENEW_S

    def _path(self) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{names.JOB_PLURAL}/{self._job}"

    def _read_version(self, path: str) -> str:
        """The job's resourceVersion; StatusUnavailableError when it is gone or recreated."""
        code, answer = self._api.call("GET", path, None)
        if code >= 300:
            raise StatusUnavailableError(f"job {self._job}: {code} {answer.get('message', '')}", code)
        if answer["metadata"]["uid"] != self._uid:
            raise StatusUnavailableError(f"job {self._job} was recreated: its uid is not {self._uid}")
        return str(answer["metadata"]["resourceVersion"])


class KubernetesLease:
    """The Lease of who writes a job's store: fedaggregator.lease.LeaseSink. The operator makes it, and nobody else."""

    def __init__(self, namespace: str, job: str, api: client.ApiClient | None = None) -> None:
        self._api, self._namespace, self._name = _Api(api), namespace, names.job_lease_name(job)
        self._path = _lease_path(namespace, self._name)

    def read(self) -> Held:
        """By the API server's store, not by its memory, which may be late."""
        return self._held(*self._api.call("GET", self._path, None))

    def write(self, held: Held) -> Held:
        """On the condition that it is still of that resourceVersion."""
        spec = {
            "leaseDurationSeconds": names.JOB_LEASE_S,
            "leaseTransitions": held.transitions,
            "renewTime": _micro_time(datetime.now(UTC)),
            **({"holderIdentity": held.holder} if held.holder else {}),
        }
        metadata = {"name": self._name, "namespace": self._namespace, "resourceVersion": held.version}
        return self._held(*self._api.apply(self._path, _lease(metadata, spec)))

    def _held(self, code: int, answer: Json) -> Held:
        if code == _CONFLICT:
            raise LeaseConflictError(f"lease {self._name} is not as it was read")
        if code >= 300:
            raise StatusUnavailableError(f"lease {self._name}: {code} {answer.get('message', '')}", code)
        spec, version = answer.get("spec") or {}, str(answer["metadata"]["resourceVersion"])
        return Held(spec.get("holderIdentity") or "", version, int(spec.get("leaseTransitions") or 0))


def _lease_path(namespace: str, name: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"


def _lease(metadata: Json, spec: Json) -> Json:
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _micro_time(at: datetime) -> str:
    return at.isoformat(timespec="microseconds").replace("+00:00", "Z")
