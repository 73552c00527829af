"""Reads manifest files: which jobs, sites and ConfigMaps are there, validated and with defaults filled in.

Called by fedcli (`run`, `validate`). Everything wrong is collected before anything is refused.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedapi import names
from fedapi.crd.flclient import FLClientSpec
from fedapi.jsonvalue import Json
from fedlocal import configmaps, goyaml, object_meta, user_secrets
from fedlocal.errors import BadInputError, Problem
from fedlocal.shadowed import shadowed
from fedlocal.validation import checked
from fedoperator.desired.pool import Shape

_SUFFIXES = (".yaml", ".yml", ".json")
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True)
class Document:
    """One object and the file that it stands in."""

    file: Path
    body: Json

    @property
    def where(self) -> str:
        """File and object, for messages."""
        metadata = self.body.get("metadata")
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        return f"{self.file}: {self.body.get('kind', '?')}/{name}"


@dataclass(frozen=True)
class Manifests:
    """What a path holds."""

    folder: Path
    jobs: tuple[Document, ...] = ()
    clients: tuple[Document, ...] = ()
    config_maps: dict[str, Json] = field(default_factory=dict)
    secrets: dict[str, Json] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def job(self, name: str | None) -> list[Document]:
        """The job of that name, or all; BadInputError names those that are there."""
        found = [job for job in self.jobs if name in (None, job.body["metadata"]["name"])]
        if not found:
            known = ", ".join(job.body["metadata"]["name"] for job in self.jobs) or "none"
            raise BadInputError(
                f"{self.folder}: no FederatedJob {f'{name} ' if name else ''}here (found: {known}): name a folder or file with one"
            )
        return found

    def workers(self) -> dict[str, int]:
        """Each site with the training pods that its pool has."""
        specs = {str(client.body["metadata"]["name"]): client.body["spec"] for client in self.clients}
        return {name: Shape.of(FLClientSpec.model_validate(spec).pool).workers for name, spec in specs.items()}


def load(path: Path) -> Manifests:
    """All objects under a file or folder (not its sub-folders). BadInputError lists everything that is wrong."""
    if not path.exists():
        raise BadInputError(f"{path}: no such file or folder: give the folder that holds your manifests")
    files = [path] if path.is_file() else sorted(f for f in path.iterdir() if f.suffix in _SUFFIXES and f.is_file())
    problems: list[Problem] = []
    documents = [document for file in files for document in _documents(file, problems)]
    kept: dict[str, list[Document]] = {names.JOB_KIND: [], names.CLIENT_KIND: []}
    config_maps: dict[str, Json] = {}
    secrets: dict[str, Json] = {}
    notes = []
    for document in documents:
        kind = document.body.get("kind")
        if kind in kept and document.body.get("apiVersion") == names.API_VERSION:
            kept[kind].append(_validated(document, problems))
        elif kind in kept:
            problems.append(
                Problem(
                    document.where,
                    "apiVersion",
                    f"is {document.body.get('apiVersion')!r}, but must be {names.API_VERSION}",
                )
            )
        elif kind == "ConfigMap":
            found = [
                *object_meta.findings(document.body, ("data", "binaryData", "immutable")),
                *configmaps.findings(document.body),
            ]
            problems += [Problem(document.where, path, message) for path, message in found]
            if not found:
                config_maps[document.body["metadata"]["name"]] = object_meta.filled(document.body)
        elif kind == "Secret":
            found = [
                *object_meta.findings(document.body, ("data", "stringData", "type", "immutable")),
                *user_secrets.findings(document.body),
            ]
            problems += [Problem(document.where, path, message) for path, message in found]
            if not found:
                secrets[document.body["metadata"]["name"]] = object_meta.filled(document.body)
        else:
            notes.append(
                f"{document.where}: ignored: only FederatedJob, FLClient, ConfigMap and Secret act without a cluster"
            )
    problems += _twice(kept[names.JOB_KIND]) + _twice(kept[names.CLIENT_KIND])
    if problems:
        raise BadInputError(problems)
    folder = path if path.is_dir() else path.parent
    notes += map(str, shadowed(folder))
    return Manifests(
        folder.resolve(),
        tuple(kept[names.JOB_KIND]),
        tuple(kept[names.CLIENT_KIND]),
        config_maps,
        secrets,
        tuple(notes),
    )


def namespace(document: Document) -> str:
    """Its namespace, as `kubectl apply` would choose it."""
    return str(document.body["metadata"].get("namespace") or DEFAULT_NAMESPACE)


def _documents(file: Path, problems: list[Problem]) -> list[Document]:
    try:
        bodies = goyaml.documents(file.read_bytes().decode("utf-8"))
    except (OSError, UnicodeDecodeError, goyaml.NotKubectlError) as error:
        problems.append(Problem(str(file), "", f"cannot be read as YAML, as kubectl reads it: {error}"))
        return []
    flat = [item for body in bodies for item in _items(body)]
    objects = [body for body in flat if isinstance(body, dict) and isinstance(body.get("kind"), str)]
    if len(objects) < len(flat) and file.suffix != ".json":  # other JSON files often lie beside manifests
        text = "is missing: each document is an object with apiVersion, kind and metadata"
        problems.append(Problem(str(file), "kind", text))
    return [Document(file, body) for body in objects]


def _items(body: Any) -> list[Any]:
    """The objects of a list, whatever it lists, or the one that stands there."""
    listed = isinstance(body, dict) and str(body.get("kind")).endswith("List")
    found = body.get("items") if listed else body
    return found if listed and isinstance(found, list) else [] if found is None else [found]


def _validated(document: Document, problems: list[Problem]) -> Document:
    body, findings = checked(document.body)
    problems += [Problem(document.where, path, message) for path, message in findings]
    return Document(document.file, body)


def _twice(documents: list[Document]) -> list[Problem]:
    seen: dict[str, Document] = {}
    problems = []
    for document in documents:
        metadata = document.body.get("metadata")
        if not isinstance(metadata, dict):
            continue  # that is told already
        key = f"{namespace(document)}/{metadata.get('name')}"
        if key in seen:
            problems.append(
                Problem(document.where, "metadata.name", f"is there twice (also in {seen[key].file}): rename one")
            )
        seen[key] = document
    return problems
