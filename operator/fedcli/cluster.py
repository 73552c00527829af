"""What the command line asks a cluster for: the only module here that knows the Kubernetes client.

Everything is plain JSON on this side. Errors become ClusterError with a way out.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from urllib3.exceptions import HTTPError
from websocket import ABNF, WebSocketException

from fedapi import names
from fedapi.jsonvalue import Json
from fedcli.errors import ClusterError

REQUEST_TIMEOUT_S = 30
POLL_S = 0.2
_STDOUT, _STDERR, _STATUS = b"\1", b"\2", b"\3"  # channels of the exec protocol


def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> "Cluster":
    """A connection as kubectl would make it; namespace: the context's, or default."""
    try:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig) if kubeconfig else None, context, configuration)
        chosen = namespace or _namespace(kubeconfig, context)
    except (config.ConfigException, OSError) as error:
        raise ClusterError(
            f"no cluster to talk to ({error}): give --kubeconfig, or set KUBECONFIG; for a local run give --workdir"
        ) from error
    return Cluster(client.ApiClient(configuration), chosen)


def _namespace(kubeconfig: Path | None, context: str | None) -> str:
    known, active = config.list_kube_config_contexts(str(kubeconfig) if kubeconfig else None)
    chosen = next((entry for entry in known if entry["name"] == context), active)
    return str(chosen["context"].get("namespace") or "default")


@dataclass(frozen=True)
class Cluster:
    """One namespace of one cluster."""

    api: Any
    namespace: str

    def job(self, name: str) -> Json:
        """A FederatedJob."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FederatedJob {self.namespace}/{name}"):
            found: Json = custom.get_namespaced_custom_object(
                names.GROUP, names.VERSION, self.namespace, names.JOB_PLURAL, name, _request_timeout=REQUEST_TIMEOUT_S
            )
        return found

    def jobs(self) -> list[Json]:
        """All FederatedJobs of the namespace."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FederatedJobs of {self.namespace}"):
            found: list[Json] = custom.list_namespaced_custom_object(
                names.GROUP, names.VERSION, self.namespace, names.JOB_PLURAL, _request_timeout=REQUEST_TIMEOUT_S
            )["items"]
        return found

    def patch_job(self, name: str, patch: Json) -> None:
        """Changes a FederatedJob by a merge patch: null takes a field away."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FederatedJob {self.namespace}/{name}"):
            custom.patch_namespaced_custom_object(
                names.GROUP, names.VERSION, self.namespace, names.JOB_PLURAL, name, patch,
                _content_type="application/merge-patch+json", _request_timeout=REQUEST_TIMEOUT_S,
            )  # fmt: skip

    def client(self, name: str) -> Json:
        """An FLClient."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FLClient {self.namespace}/{name}"):
            found: Json = custom.get_namespaced_custom_object(
                names.GROUP,
                names.VERSION,
                self.namespace,
                names.CLIENT_PLURAL,
                name,
                _request_timeout=REQUEST_TIMEOUT_S,
            )
        return found

    def create_client(self, body: Json) -> None:
        """Makes an FLClient; ClusterError where one of the name is there."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FLClient {self.namespace}/{body['metadata']['name']}"):
            custom.create_namespaced_custom_object(
                names.GROUP,
                names.VERSION,
                self.namespace,
                names.CLIENT_PLURAL,
                body,
                _request_timeout=REQUEST_TIMEOUT_S,
            )

    def patch_client(self, name: str, patch: Json) -> None:
        """Changes an FLClient in the same way."""
        custom = client.CustomObjectsApi(self.api)
        with _errors(f"FLClient {self.namespace}/{name}"):
            custom.patch_namespaced_custom_object(
                names.GROUP, names.VERSION, self.namespace, names.CLIENT_PLURAL, name, patch,
                _content_type="application/merge-patch+json", _request_timeout=REQUEST_TIMEOUT_S,
            )  # fmt: skip

    def deployment(self, name: str) -> Json:
        """A Deployment."""
        with _errors(f"Deployment {self.namespace}/{name}"):
            return self._plain(client.AppsV1Api(self.api).read_namespaced_deployment, name)

    def secret(self, name: str) -> Json:
        """A Secret."""
        with _errors(f"Secret {self.namespace}/{name}"):
            return self._plain(client.CoreV1Api(self.api).read_namespaced_secret, name)

    def patch_secret(self, name: str, patch: Json) -> None:
        """Changes a Secret by a merge patch: null takes a file away."""
        core = client.CoreV1Api(self.api)
        with _errors(f"Secret {self.namespace}/{name}"):
            core.patch_namespaced_secret(
                name, self.namespace, patch,
                _content_type="application/merge-patch+json", _request_timeout=REQUEST_TIMEOUT_S,
            )  # fmt: skip

    def config_map(self, name: str) -> Json:
        """A ConfigMap."""
        with _errors(f"ConfigMap {self.namespace}/{name}"):
            return self._plain(client.CoreV1Api(self.api).read_namespaced_config_map, name)

    def create_pod(self, manifest: Json) -> str:
        """Creates a pod and returns its name."""
        core = client.CoreV1Api(self.api)
        with _errors(f"a Pod in {self.namespace}"):
            made = core.create_namespaced_pod(self.namespace, manifest, _request_timeout=REQUEST_TIMEOUT_S)
        return str(made.metadata.name)

    def wait_for_pod(self, name: str, settled: Callable[[Json], bool], timeout_s: float) -> Json:
        """The pod once `settled` says so, or as it is after the time-out."""
        end = time.monotonic() + timeout_s
        while True:
            with _errors(f"Pod {self.namespace}/{name}"):
                pod = self._plain(client.CoreV1Api(self.api).read_namespaced_pod, name)
            if settled(pod) or time.monotonic() > end:
                return pod
            time.sleep(POLL_S)

    def delete_pod(self, name: str) -> None:
        """Deletes a pod at once; no error when it is gone."""
        core = client.CoreV1Api(self.api)
        try:
            core.delete_namespaced_pod(name, self.namespace, grace_period_seconds=0, _request_timeout=REQUEST_TIMEOUT_S)
        except ApiException as error:
            if error.status != 404:
                raise ClusterError(f"Pod {self.namespace}/{name} could not be deleted: {_why(error)}") from error

    def output(self, pod: str, command: list[str]) -> Iterator[bytes]:
        """What a command prints in a running pod, byte for byte. ClusterError with its complaint when it fails."""
        api = client.ApiClient(self.api.configuration)  # stream() changes its client's transport while it runs
        core = client.CoreV1Api(api)
        with _errors(f"exec in Pod {self.namespace}/{pod}"):
            channel = stream(
                core.connect_get_namespaced_pod_exec, pod, self.namespace, command=command,
                stdin=False, stdout=True, stderr=True, tty=False, binary=True, _preload_content=False,
            )  # fmt: skip
            try:
                yield from _standard_output(channel.sock)
            finally:
                channel.sock.shutdown()

    def _plain(self, read: Callable[..., Any], name: str) -> Json:
        found: Json = self.api.sanitize_for_serialization(
            read(name, self.namespace, _request_timeout=REQUEST_TIMEOUT_S)
        )
        return found


def _standard_output(socket: Any) -> Iterator[bytes]:
    """Frames of the exec protocol as they come: the client's own buffer copies a large output over and over."""
    complaint, status = b"", b""
    while True:
        kind, frame = socket.recv_data_frame(True)
        if kind == ABNF.OPCODE_CLOSE:
            break
        channel, content = frame.data[:1], frame.data[1:]
        if channel == _STDOUT and content:
            yield content
        elif channel == _STDERR:
            complaint = (complaint + content)[-4096:]
        elif channel == _STATUS:
            status += content
    if not status:
        raise ClusterError("exec: the connection was lost before the command ended: try again")
    if json.loads(status).get("status") != "Success":
        said = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise ClusterError(f"exec: {said or json.loads(status).get('message')}")


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except ApiException as error:
        raise ClusterError(f"{what}: {_why(error)}") from error
    except (HTTPError, WebSocketException, OSError) as error:
        raise ClusterError(f"{what}: the API server does not answer ({error})") from error


def _why(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "")["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.status} {error.reason}"
