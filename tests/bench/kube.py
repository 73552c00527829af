"""An API server as the bench's own client sees it: one kept connection, plain dictionaries, watches with receive times.

Used by the cases that need an API server or a cluster; the operator under measurement has its own client.
"""

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx

from fedapi import names
from fedapi.jsonvalue import Json
from fedoperator.desired.kinds import BY_KIND
from tests import certificates
from tests.cluster.api import Cluster

AGENT = "fedloom-bench"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """Path of a collection, an object or a subresource."""
    return BY_KIND[kind].path(namespace, name, subresource)


def connect(cluster: Cluster) -> httpx.Client:
    """A client with the administrator's certificate."""
    context = certificates.client_context(cluster.dirs.pki)
    context.load_cert_chain(cluster.dirs.pki / "admin.crt", cluster.dirs.pki / "admin.key")
    return httpx.Client(
        base_url=cluster.server, verify=context, trust_env=False, timeout=60, headers={"User-Agent": AGENT}
    )


@dataclass(frozen=True)
class Kube:
    """Reads and writes."""

    cluster: Cluster
    client: httpx.Client

    @classmethod
    def to(cls, cluster: Cluster) -> "Kube":
        """A client of this cluster."""
        return cls(cluster, connect(cluster))

    def get(self, where: str) -> Json:
        """An object or a list."""
        return self._ask("GET", where)

    def serves(self, where: str) -> bool:
        """Whether the API server knows the collection."""
        return self.client.get(where).is_success

    def delete(self, where: str) -> Json:
        """Removes an object."""
        return self._ask("DELETE", where)

    def create(self, where: str, body: Json) -> Json:
        """A new object."""
        return self._ask("POST", where, body)

    def patch(self, where: str, body: Json) -> Json:
        """A merge patch."""
        return self._ask("PATCH", where, body, MERGE)

    def apply(self, where: str, body: Json, manager: str = AGENT) -> Json:
        """Server-side apply."""
        return self._ask("PATCH", f"{where}?fieldManager={manager}&force=true", body, APPLY)

    def outcome(self, job: Json, **leaves: Any) -> None:
        """Leaves of a job's status, written as its aggregator writes them."""
        metadata = {key: job["metadata"][key] for key in ("name", "namespace", "uid")}
        body = {"apiVersion": names.API_VERSION, "kind": names.JOB_KIND, "metadata": metadata, "status": leaves}
        where = path(names.JOB_KIND, metadata["namespace"], metadata["name"], "status")
        self.apply(where, body, names.AGGREGATOR_MANAGER)

    def _ask(self, method: str, where: str, body: Json | None = None, content: str = "application/json") -> Json:
        headers = {"Content-Type": content} if body is not None else {}
        answer = self.client.request(
            method, where, content=json.dumps(body) if body is not None else None, headers=headers
        )
        if answer.is_error:
            raise RuntimeError(f"{method} {where}: {answer.status_code} {answer.text[:400]}")
        return answer.json()


class Watch:
    """Events of a collection, each with the time at which it arrived, as long as the bench runs."""

    def __init__(self, cluster: Cluster, where: str, *, metadata_only: bool = False) -> None:
        self.latest: dict[str, Json] = {}
        self.first_seen: dict[str, float] = {}
        self.events: list[tuple[float, Json]] = []
        self._changed = threading.Condition()
        self._client = connect(cluster)
        self._accept = METADATA_ONLY if metadata_only else "application/json"
        threading.Thread(target=self._follow, args=(where,), daemon=True).start()

    def until(self, fact: Callable[[dict[str, Json]], bool], timeout_s: float = 30.0) -> float:
        """When the collection first made the fact true; TimeoutError when it does not."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while not fact(self.latest):
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"{len(self.latest)} watched objects did not become what they should")
            return time.monotonic()

    def first(self, since: int, name: str, fact: Callable[[Json], bool], timeout_s: float = 30.0) -> float:
        """When an event of that object, not among the first `since`, made the fact true."""
        until, position = time.monotonic() + timeout_s, since
        with self._changed:
            while True:
                for at, body in self.events[position:]:
                    if body["metadata"]["name"] == name and fact(body):
                        return at
                position = len(self.events)
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise TimeoutError(f"{name} did not change as it should")

    def _follow(self, where: str) -> None:
        with suppress(httpx.TransportError):  # ends with the API server; a case that still waits says so
            while True:
                self._list_and_watch(where)

    def _list_and_watch(self, where: str) -> None:
        asked = {"Accept": self._accept}
        listed = self._client.get(where).raise_for_status().json()
        for body in listed["items"]:
            self._note("ADDED", body)
        since = f"{where}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
        with self._client.stream("GET", since, headers=asked, timeout=None) as lines:
            for line in lines.iter_lines():
                event = json.loads(line)
                if event.get("type") not in ("ADDED", "MODIFIED", "DELETED"):
                    return  # the API server's caches are not filled yet, or it wants a new list
                self._note(event["type"], event["object"])

    def _note(self, type_: str, body: Json) -> None:
        now, name = time.monotonic(), body["metadata"]["name"]
        with self._changed:
            self.first_seen.setdefault(name, now)
            self.events.append((now, body))
            if type_ == "DELETED":
                self.latest.pop(name, None)
            else:
                self.latest[name] = body
            self._changed.notify_all()
