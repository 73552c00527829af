"""The queues of a job as its pods see them: their place as text, and each pod's own Secret for them.

Used by the builders of the aggregator and of training Jobs. A site without `spec.events` speaks HTTPS alone. Pure.
"""

from fedapi import names
from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.flclient import FLClientSpec
from fedoperator.desired.pod import Mount, secret_source


def hub_environment(spec: FederatedJobSpec) -> dict[str, str]:
    """Of the aggregator."""
    if spec.events is None:
        return {}
    arrivals = {names.ENV_ARRIVALS_QUEUE: spec.events.arrivals} if spec.events.arrivals else {}
    return _environment(spec.events.place().text(), spec.events.secret) | arrivals


def hub_mounts(spec: FederatedJobSpec) -> tuple[Mount, ...]:
    """Of the aggregator."""
    return _mounts(spec.events.secret) if spec.events is not None else ()


def site_environment(spec: FederatedJobSpec, site: FLClientSpec) -> dict[str, str]:
    """Of a site's training pods."""
    if spec.events is None or site.events is None:
        return {}
    return _environment(spec.events.place().text(), _secret(site))


def site_mounts(spec: FederatedJobSpec, site: FLClientSpec) -> tuple[Mount, ...]:
    """Of a site's training pods."""
    return _mounts(_secret(site)) if spec.events is not None else ()


def _secret(site: FLClientSpec) -> str:
    ref = site.events.credentials_secret_ref if site.events else None
    return ref.name if ref else ""


def _environment(place: str, secret: str) -> dict[str, str]:
    folder = {names.ENV_QUEUES_CREDENTIALS_DIR: names.PATH_QUEUES_CREDENTIALS} if secret else {}
    return {names.ENV_QUEUES: place} | folder


def _mounts(secret: str) -> tuple[Mount, ...]:
    if not secret:
        return ()
    return (Mount("queues-credentials", secret_source(secret), names.PATH_QUEUES_CREDENTIALS, read_only=True),)
