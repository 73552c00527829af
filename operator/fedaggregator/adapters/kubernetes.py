"""Status and heartbeats on Kubernetes, by server-side apply. The only module here that knows the Kubernetes client.

Every status apply names metadata.uid and the resourceVersion that was read with that uid: on the status of a custom
resource the API server ignores a wrong uid, but not a wrong version, so a recreated job is never written to.
A site's Lease is renewed by the aggregator on the site's behalf (placement Local); raw dictionaries, no client models.
"""

import json
from datetime import UTC, datetime, timedelta

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from fedaggregator.errors import StatusUnavailableError
from fedapi import names
from fedapi.jsonvalue import Json, JsonView

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_CONFLICT, _TRIES = 409, 5
_DELETED = frozenset({401, 403, 404})  # the account and its rights go with the job, some of them before its pod
_TIMEOUT_S = 10


class KubernetesStatus:
    """Writes `.status` of one FederatedJob and Leases of its sites, with the pod's service account."""

    def __init__(self, namespace: str, job: str, uid: str, api: client.ApiClient | None = None) -> None:
        if api is None:
            config.load_incluster_config()
            api = client.ApiClient()
        self._namespace, self._job, self._uid, self._api = namespace, job, uid, api
        self._version = ""  # the job's resourceVersion after our last write

    def job_deleted(self) -> bool:
        """Whether it is gone, going or recreated. Asked by a process that is stopped."""
        try:
            code, answer = self._call("GET", self._path(), None)
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
            code, answer = self._apply(f"{path}/status", body)
            if code < 300:
                self._version = str(answer["metadata"]["resourceVersion"])
                return
            self._version = ""
            if code != _CONFLICT:
                raise StatusUnavailableError(f"status: {code} {answer.get('message', '')}", code)
        raise StatusUnavailableError(f"status: {_TRIES} conflicts in a row")

    def heard(self, client: str, ago_s: float) -> None:
        """Renews the site's Lease, unless the aggregator of another job did so within the time of a renewal.

        Asked is the API server's memory, not its store: sites that many jobs share cost one write a minute, not one each.
        """
        name, heard = names.site_lease_name(client), datetime.now(UTC) - timedelta(seconds=ago_s)
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._namespace}/leases/{name}"
        code, there = self._call("GET", path, None, ("resourceVersion", "0"))
        if code < 300 and self._renewed_by_another(there, heard):
            return
        spec = {
            "holderIdentity": names.aggregator_name(self._job),
            "leaseDurationSeconds": names.SITE_LEASE_ACTIVE_S,
            "renewTime": heard.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        metadata = {"name": name, "namespace": self._namespace}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
        code, answer = self._apply(path, lease)
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
        code, answer = self._call("GET", path, None)
        if code >= 300:
            raise StatusUnavailableError(f"job {self._job}: {code} {answer.get('message', '')}", code)
        if answer["metadata"]["uid"] != self._uid:
            raise StatusUnavailableError(f"job {self._job} was recreated: its uid is not {self._uid}")
        return str(answer["metadata"]["resourceVersion"])

    def _apply(self, path: str, body: JsonView) -> tuple[int, Json]:
        return self._call(
            "PATCH", path, json.dumps(body), ("fieldManager", names.AGGREGATOR_MANAGER), ("force", "true")
        )

    def _call(self, method: str, path: str, body: str | None, *query: tuple[str, str]) -> tuple[int, Json]:
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
