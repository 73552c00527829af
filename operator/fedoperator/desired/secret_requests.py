"""Which Secrets a job needs. Their content is made by the shell, create-if-absent, and is never seen here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.desired import aggregator
from fedoperator.desired.identity import Identity


@dataclass(frozen=True)
class SecretRequest:
    """A Secret that must exist; its content is made by the shell and never seen here."""

    name: str
    kind: Literal["Aggregator", "Init", "Site"]
    labels: Mapping[str, str]
    owner: JsonView  # ownerReference
    client: str = ""
    hosts: tuple[str, ...] = ()  # DNS names of the server certificate
    certified: bool = False  # of a site: the aggregator asks for its certificate (clients.certificates: Required)


def secret_requests(
    identity: Identity, clients: Iterable[str], cluster_domain: str, *, certified: bool
) -> tuple[SecretRequest, ...]:
    """The aggregator's Secret (job key, server certificate), one of the init step and one per site (token, client certificate)."""
    own = SecretRequest(
        name=identity.secret,
        kind="Aggregator",
        labels=identity.labels(names.ROLE_AGGREGATOR),
        owner=identity.owner(),
        hosts=aggregator.hosts(identity, cluster_domain),
    )
    init = SecretRequest(
        name=identity.init_secret,
        kind="Init",
        labels=identity.labels(names.ROLE_INIT),
        owner=identity.owner(),
    )
    sites = (
        SecretRequest(
            name=identity.site_secret(client),
            kind="Site",
            labels=identity.labels(names.ROLE_TRAINER, client),
            owner=identity.owner(),
            client=client,
            certified=certified,
        )
        for client in clients
    )
    return own, init, *sites
