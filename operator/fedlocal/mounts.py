"""A pod's file system and environment as folders of this machine: container paths become paths below one root.

Called by kubelet.py before each start. Every mount is a symbolic link below `<pod>/root`, and values of the
environment that name a mount, or a path around or below one, are moved below that root.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedapi import names
from fedapi.jsonvalue import Json
from fedlocal import configmaps
from fedlocal.statefolder import StateFolder

LOOPBACK = "127.0.0.1"  # every pod's address
_FIXED = (names.PATH_TMP, names.PATH_DATA, names.PATH_STATE, names.PATH_TERMINATION_LOG)


@dataclass(frozen=True)
class Places:
    """Where volumes are: the state folder, and the user's folder for what only the user has."""

    state: StateFolder
    manifests: Path  # sites' data: <manifests>/volumes/<name>
    config_maps: frozenset[str] = frozenset()  # of the user's, written to the state folder

    def claim(self, name: str) -> Path:
        """The folder that stands for a claim: the job's own, or, where only another job here has it, that one's."""
        own = self.state.claim(name)
        if own.exists():
            return own
        others = sorted(self.state.root.parent.glob(f"*/claims/{name}"))
        return others[0] if others else own

    def data(self, name: str) -> Path:
        """The folder that stands for a site's claim or ConfigMap."""
        return self.manifests / "volumes" / name


def missing_data(pod: Json, places: Places) -> list[tuple[str, Path]]:
    """(volume, folder) of the site's data that is not there: such a pod cannot start."""
    links = _links(pod, places)
    return [(path, target) for path, target in links.items() if _is_data(path) and not target.exists()]


def prepare(pod: Json, places: Places, beside: int = 0) -> Path:
    """Makes the pod's root anew, all mounts linked, and returns it. `beside`: number of a container that runs with others."""
    root = places.state.pod(pod["metadata"]["name"]) / (f"root-{beside}" if beside else "root")
    shutil.rmtree(root, ignore_errors=True)
    for fixed in _FIXED[:3]:
        below(root, fixed).mkdir(parents=True, exist_ok=True)
    maps = _mounted_maps(pod)
    for path, target in sorted(_links(pod, places).items()):
        link = below(root, path)
        link.parent.mkdir(parents=True, exist_ok=True)
        if path in maps:
            _mount_map(link, maps[path], places)
            continue
        if not _is_data(path):
            target.mkdir(parents=True, exist_ok=True)
        if link.is_dir() and not link.is_symlink():
            link.rmdir()
        link.symlink_to(target.absolute(), target_is_directory=True)
    log = below(root, names.PATH_TERMINATION_LOG)
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")
    return root


def below(root: Path, path: str) -> Path:
    """A container's absolute path below the pod's root."""
    return root / path.lstrip("/")


def environment(pod: Json, root: Path) -> dict[str, str]:
    """The container's own variables with paths rewritten."""
    container = pod["spec"]["containers"][0]
    known = {mount["mountPath"].rstrip("/") for mount in container.get("volumeMounts") or ()} | set(_FIXED)
    out = {}
    for entry in container.get("env") or ():
        # A kubelet makes `$` of `$$`; Fedloom doubles every `$`, so there is no `$(NAME)` to expand.
        value = str(entry["value"]).replace("$$", "$") if "value" in entry else _from_field(entry, pod)
        out[entry["name"]] = str(below(root, value)) if _touches(value, known) else value
    return out


def termination_message(root: Path) -> str:
    """What the process left in its termination log (the last 4 KiB, as a kubelet reads)."""
    try:
        return below(root, names.PATH_TERMINATION_LOG).read_bytes()[-4096:].decode(errors="replace").strip()
    except OSError:
        return ""


def _links(pod: Json, places: Places) -> dict[str, Path]:
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    mounts = pod["spec"]["containers"][0].get("volumeMounts") or ()
    out = {}
    for mount in mounts:
        path = mount["mountPath"].rstrip("/")
        if path == names.PATH_TMP:
            continue
        source = _source(volumes[mount["name"]], _is_data(path), pod, places)
        out[path] = source / mount["subPath"] if mount.get("subPath") else source
    return out


def _source(volume: Json, is_data: bool, pod: Json, places: Places) -> Path:
    claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
    config_map = (volume.get("configMap") or {}).get("name")
    if claim:
        return places.data(claim) if is_data else places.claim(claim)
    if config_map:
        user_s = is_data and config_map not in places.config_maps
        return places.data(config_map) if user_s else places.state.config_map(config_map)
    if "secret" in volume:
        return places.state.secret(str(volume["secret"]["secretName"]))
    return places.state.pod(pod["metadata"]["name"]) / "volumes" / str(volume["name"])


def _mounted_maps(pod: Json) -> dict[str, str]:
    """Path -> ConfigMap of the site's data: real folders, so that a task that walks its data finds them."""
    maps = {v["name"]: str(v["configMap"]["name"]) for v in pod["spec"].get("volumes") or () if "configMap" in v}
    mounted = pod["spec"]["containers"][0].get("volumeMounts") or ()
    paths = {m["mountPath"].rstrip("/"): maps[m["name"]] for m in mounted if m["name"] in maps}
    return {path: name for path, name in paths.items() if _is_data(path)}


def _mount_map(folder: Path, name: str, places: Places) -> None:
    if name in places.config_maps:
        configmaps.put(folder, configmaps.held(places.state.config_map(name)))
    else:
        configmaps.link(folder, places.data(name))


def _is_data(path: str) -> bool:
    return path.startswith(names.PATH_DATA + "/")


def _touches(value: str, known: set[str]) -> bool:
    """Whether an absolute path is a mount, below one, or around one."""
    if not value.startswith("/") or os.pathsep in value or "\n" in value:
        return False
    path = PurePosixPath(value)
    return value != "/" and any(path.is_relative_to(k) or PurePosixPath(k).is_relative_to(path) for k in known)


def _from_field(entry: Json, pod: Json) -> str:
    """The downward API: metadata.name, metadata.labels['x'], status.podIP …; empty where the pod has no such field."""
    path = ((entry.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
    if path in ("status.podIP", "status.hostIP"):
        return LOOPBACK
    field, _, key = path.removeprefix("metadata.").partition("[")
    value = pod["metadata"].get(field, "")
    return str(value.get(key.strip("'\"]"), "") if isinstance(value, dict) else value)
