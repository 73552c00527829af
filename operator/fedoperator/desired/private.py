"""What a site's training pods are told of what the site demands to hide its updates (spec.requires.privacy). Pure."""

from fedapi import names
from fedapi.crd.flclient import FLClientSpec


def environment(site: FLClientSpec) -> dict[str, str]:
    """Of a site's training pods."""
    demand = site.requires.privacy if site.requires else None
    return {names.ENV_REQUIRES_PRIVACY: demand.told().model_dump_json(exclude_none=True)} if demand else {}
