"""Facts and objects on Kubernetes. The only module here that knows the Kubernetes client.

Every apply names metadata.uid and the resourceVersion that was read with it, as the aggregator's do: a recreated job is
never written to, and of a backup and a verification that end together both are heard. Raw dictionaries, no client models.
"""

import json
from collections.abc import Callable, Sequence

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedbackup.errors import Reason, StatusRefusedError

_APPLY = "application/apply-patch+yaml"  # JSON is YAML
_CONFLICT, _NOT_FOUND, _TRIES = 409, 404, 10
_TIMEOUT_S = 10
_OF_THE_SERVER = ("managedFields", "resourceVersion")  # nothing that anybody would restore


class KubernetesJob:
    """One FederatedJob and its FLClients, with the pod's service account."""

    def __init__(self, namespace: str, job: str, uid: str, api: client.ApiClient | None = None) -> None:
        if api is None:
            config.load_incluster_config()
            api = client.ApiClient()
        self._namespace, self._job, self._uid, self._api = namespace, job, uid, api

    def told(self) -> JsonView:
        """What the status has."""
        return _backup(self._read(self._path(names.JOB_PLURAL, self._job)))

    def change(self, change: Callable[[JsonView], Json]) -> None:
        """Reads and applies; another writer's change in between makes it do both again."""
        path = self._path(names.JOB_PLURAL, self._job)
        for _ in range(_TRIES):
            now = self._read(path)
            metadata = {name: now["metadata"][name] for name in ("name", "namespace", "uid", "resourceVersion")}
            backup = change(_backup(now))
            body = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "metadata": metadata}
            body["status"] = {"backup": backup}
            query = (("fieldManager", names.BACKUP_MANAGER), ("force", "true"))
            code, answer = self._call("PATCH", f"{path}/status", json.dumps(body), *query)
            if code < 300:
                return
            if code != _CONFLICT:
                raise StatusRefusedError(Reason.STATUS_REFUSED, f"status: {code} {answer.get('message', '')}")
        raise StatusRefusedError(Reason.STATUS_REFUSED, f"status: {_TRIES} conflicts in a row")

    def of_job(self, clients: Sequence[str]) -> list[Json]:
        """The job and these sites, without what only the API server says."""
        found = [self._read(self._path(names.JOB_PLURAL, self._job))]
        for name in clients:
            code, body = self._call("GET", self._path(names.CLIENT_PLURAL, name), None)
            if code < 300:
                found.append(body)
            elif code != _NOT_FOUND:
                text = f"{names.CLIENT_KIND} {name}: {code} {body.get('message', '')}"
                raise StatusRefusedError(Reason.STATUS_REFUSED, text)
        for body in found:
            for leaf in _OF_THE_SERVER:
                body["metadata"].pop(leaf, None)
        return found

    def _path(self, plural: str, name: str) -> str:
        return f"/apis/{names.API_VERSION}/namespaces/{self._namespace}/{plural}/{name}"

    def _read(self, path: str) -> Json:
        """The job; StatusRefusedError when it is gone or recreated."""
        code, answer = self._call("GET", path, None)
        if code >= 300:
            raise StatusRefusedError(Reason.STATUS_REFUSED, f"job {self._job}: {code} {answer.get('message', '')}")
        if answer["metadata"]["uid"] != self._uid:
            text = f"job {self._job} was recreated: its uid is not {self._uid}"
            raise StatusRefusedError(Reason.STATUS_REFUSED, text)
        return answer

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
            raise StatusRefusedError(Reason.STATUS_REFUSED, f"{path}: {type(error).__name__}") from error


def _backup(job: JsonView) -> JsonView:
    return (job.get("status") or {}).get("backup") or {}
