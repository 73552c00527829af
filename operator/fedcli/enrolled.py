"""Where the FLClient of an enrollment is, how it is read and changed, and whose CA the site is to trust. Used by enrollment.py."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import typer
import yaml
from pydantic import ValidationError

from fedapi import names
from fedapi.crd.flclient import FLClientSpec
from fedapi.jsonvalue import Json
from fedcli.errors import CommandError
from fedlocal.errors import BadInputError

if TYPE_CHECKING:
    from fedcli.cluster import Cluster

Provider = Literal["AWS", "GCP", "Azure", "OnPremises"]


class Place(NamedTuple):
    """A manifest, or a namespace of a cluster."""

    manifest: Path | None
    namespace: str | None
    kubeconfig: Path | None
    context: str | None

    def cluster(self, namespace: str | None = None) -> "Cluster":
        """Of the same cluster that namespace; default: the FLClient's."""
        from fedcli.cluster import connect  # noqa: PLC0415 - the Kubernetes client takes a second to load

        return connect(self.kubeconfig, self.context, namespace or self.namespace)


@dataclass(frozen=True)
class Hub:
    """The installation's namespace."""

    cluster: "Cluster"

    @classmethod
    def of(cls, place: Place, namespace: str) -> Self:
        """That of a release."""
        return cls(place.cluster(namespace))

    def authorities(self, secret: str) -> bytes:
        """The CA certificates that are trusted, PEM: of the keys' Secret their public part alone."""
        from fedoperator.key_material import FILE_NEXT_CA, FILE_PREVIOUS_CA  # noqa: PLC0415 - as cryptography does

        data = self.cluster.secret(secret).get("data") or {}
        files = (names.FILE_CA, FILE_NEXT_CA, FILE_PREVIOUS_CA)
        return b"".join(base64.b64decode(data.get(file) or "") for file in files)


@dataclass(frozen=True)
class Site:
    """An FLClient as it was read."""

    id: str  # NAMESPACE/NAME
    spec: FLClientSpec
    version: str = ""  # resourceVersion; empty: it is not there yet, or stands in a manifest
    cluster: "Cluster | None" = None

    @classmethod
    def found(cls, place: Place, name: str) -> Self:
        """CommandError when there is none of that name."""
        if place.manifest is not None:
            return cls._in_manifest(place.manifest, name, place.namespace)
        cluster = place.cluster()
        body = cluster.client(name)
        return cls(f"{cluster.namespace}/{name}", _spec(body), body["metadata"]["resourceVersion"], cluster)

    @classmethod
    def _in_manifest(cls, manifest: Path, name: str, namespace: str | None) -> Self:
        from fedlocal.manifests import load  # noqa: PLC0415

        body = next((each.body for each in load(manifest).clients if each.body["metadata"]["name"] == name), None)
        if body is None:
            raise BadInputError(f"--manifest {manifest} has no FLClient {name}")
        return cls(f"{body['metadata'].get('namespace') or namespace or 'default'}/{name}", _spec(body))

    @classmethod
    def new(cls, place: Place, name: str, provider: Provider) -> Self:
        """One that `change` makes."""
        cluster = place.cluster()
        return cls(f"{cluster.namespace}/{name}", FLClientSpec(provider=provider), cluster=cluster)

    @property
    def name(self) -> str:
        """Of the FLClient."""
        return self.id.rpartition("/")[2]

    @property
    def in_manifest(self) -> bool:
        """Whether `change` prints what is to be changed, and changes nothing."""
        return self.cluster is None

    def change(self, spec: Mapping[str, object]) -> None:
        """Merges that into its spec: at once and whole, or not at all, where somebody else has changed it since it was read."""
        if self.cluster is None:
            typer.echo(f"# to change in the manifest of FLClient {self.name}; null: take it away")
            typer.echo(yaml.safe_dump({"spec": dict(spec)}, sort_keys=False), nl=False)
        elif self.version:
            self.cluster.patch_client(self.name, {"metadata": {"resourceVersion": self.version}, "spec": dict(spec)})
        else:
            body = {"apiVersion": names.API_VERSION, "kind": names.CLIENT_KIND, "metadata": {"name": self.name}}
            self.cluster.create_client({**body, "spec": {"provider": self.spec.provider, **spec}})


def _spec(body: Json) -> FLClientSpec:
    try:
        return FLClientSpec.model_validate(body.get("spec"))
    except ValidationError as error:
        raise CommandError(
            f"FLClient {body['metadata']['name']} is not one of this version of Fedloom: {error}"
        ) from error
