"""The parts that all pods of Fedloom share: security contexts, environment, volumes, the user's podTemplate patch.

Used by the aggregator, init and training builders. The security context is Fedloom's own: a patch never reaches it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedapi import names
from fedapi.crd.podfields import PodAdditions, Resources
from fedapi.jsonvalue import Json, JsonView

USER_ID = 65532  # the user `nonroot` of distroless images; owns nothing outside the mounted volumes
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Mount:
    """A volume and where the container sees it."""

    name: str
    source: JsonView
    path: str
    read_only: bool = False
    sub_path: str = ""

    def volume(self) -> Json:
        """The pod's volume."""
        return {"name": self.name, **self.source}

    def volume_mount(self) -> Json:
        """The container's volume mount."""
        mount: Json = {"name": self.name, "mountPath": self.path}
        if self.sub_path:
            mount["subPath"] = self.sub_path
        return mount | ({"readOnly": True} if self.read_only else {})


@dataclass(frozen=True)
class PodParts:
    """What differs between the pods that Fedloom makes."""

    labels: Mapping[str, str]
    container: str
    image: str
    command: tuple[str, ...] = ()  # the image's own, if there is none
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    env_fields: Mapping[str, str] = field(default_factory=dict)  # variable -> field of the pod
    user_env: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    pull_policy: str | None = None
    resources: Json = field(default_factory=dict)
    patch: PodAdditions | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    priority_class: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    container_extra: Json = field(default_factory=dict)
    spec_extra: Json = field(default_factory=dict)


def environment(own: Mapping[str, str], fields: Mapping[str, str], users: Mapping[str, str]) -> list[Json]:
    """Environment of a container: the users' variables first, Fedloom's win.

    The kubelet expands `$(NAME)` and makes `$` of `$$`; `$` is doubled, so that every value arrives as it was written.
    """
    merged = dict(users) | {"HOME": names.PATH_TMP} | dict(own)
    plain = [{"name": name, "value": value.replace("$", "$$")} for name, value in merged.items() if name not in fields]
    return [*plain, *({"name": n, "valueFrom": {"fieldRef": {"fieldPath": path}}} for n, path in fields.items())]


def resources(*layers: Resources | None) -> Json:
    """Compute resources: the last layer that is set wins as a whole."""
    chosen = [layer.dump() for layer in layers if layer is not None]
    return {key: dict(value) for key, value in chosen[-1].items()} if chosen else {}


def secret_source(name: str) -> Json:
    """A volume source for a Secret that only the pod's user may read."""
    return {"secret": {"secretName": name, "defaultMode": 0o440}}


def _container(parts: PodParts, tmp: str = "tmp") -> Json:
    container: Json = {
        "name": parts.container,
        "image": parts.image,
        "env": environment(parts.env, parts.env_fields, parts.user_env),
        "volumeMounts": [
            *(mount.volume_mount() for mount in parts.mounts),
            {"name": tmp, "mountPath": names.PATH_TMP},
        ],
        "securityContext": CONTAINER_SECURITY,
        "terminationMessagePath": names.PATH_TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    optional = {
        "command": list(parts.command),
        "args": list(parts.args),
        "imagePullPolicy": parts.pull_policy,
        "resources": parts.resources,
        **parts.container_extra,
    }
    return container | _set(optional.items())


def _set(items: Iterable[tuple[str, object]]) -> Json:
    return {key: value for key, value in items if value not in (None, [], {}, "")}


def template(parts: PodParts, first: PodParts | None = None, beside: PodParts | None = None) -> Json:
    """A pod template: restricted security, a private /tmp, the users' additions, Fedloom's labels on top.

    `first`: a container that has to end well before the other starts; `beside`: one that runs at the same time, with a
    /tmp of its own. What they say of the pod itself is left out.
    """
    patch = parts.patch or PodAdditions()
    volumes = {mount.name: mount.volume() for each in (parts, first, beside) if each for mount in each.mounts}
    other = f"tmp-{beside.container}" if beside else ""
    spec: Json = {
        "containers": [_container(parts), *([_container(beside, other)] if beside else [])],
        "volumes": [*volumes.values(), *({"name": name, "emptyDir": {}} for name in ("tmp", other) if name)],
        "securityContext": POD_SECURITY,
        "enableServiceLinks": False,
    }
    optional = {
        "initContainers": [_container(first)] if first else [],
        "nodeSelector": dict(patch.node_selector or {}) | dict(parts.node_selector),
        "tolerations": [*(t.dump() for t in patch.tolerations or ()), *parts.tolerations],
        "imagePullSecrets": [{"name": name} for name in patch.image_pull_secrets or ()],
        "priorityClassName": parts.priority_class,
        **parts.spec_extra,
    }
    metadata = {
        "labels": patch.open_labels() | dict(parts.labels),
        "annotations": patch.harmless_annotations() | dict(parts.annotations),
    }
    return {"metadata": _set(metadata.items()), "spec": spec | _set(optional.items())}


def preceded(before: PodParts, pod: JsonView) -> Json:
    """The same template with one more container, which has to end well before all others start."""
    spec = pod["spec"]
    there = {volume["name"] for volume in spec["volumes"]}
    volumes = [mount.volume() for mount in before.mounts if mount.name not in there]
    containers = [_container(before), *spec.get("initContainers", ())]
    return {**pod, "spec": {**spec, "initContainers": containers, "volumes": [*volumes, *spec["volumes"]]}}
