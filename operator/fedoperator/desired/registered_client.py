"""The FLClient of a site that registered itself, where the installation's policy allows one. Pure.

A site's token proves its client id. Organization and labels are what it says of itself: they choose among what the
policy allows, and decide nothing about rights. The FLClient gets the policy's labels and spec, never the site's own.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from fedapi import names
from fedapi.jsonvalue import Json, JsonView
from fedapi.wire.registry import Site


@dataclass(frozen=True)
class Allowed:
    """An entry of the policy: which sites become FLClients, and what these are like."""

    client_ids: tuple[str, ...]  # patterns of NAMESPACE/NAME, with * and ?
    organizations: tuple[str, ...] = ()  # empty: any, and none
    match_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    spec: JsonView = field(default_factory=dict)

    def takes(self, site: Site) -> bool:
        """Whether the entry is about this site."""
        return (
            any(fnmatchcase(site.client_id, pattern) for pattern in self.client_ids)
            and (not self.organizations or site.organization in self.organizations)
            and all(site.labels.get(key) == value for key, value in self.match_labels.items())
        )


def registered_client(site: Site, policy: Iterable[Allowed]) -> Json | None:
    """By the first entry that is about the site; None where there is none."""
    entry = next((each for each in policy if each.takes(site)), None)
    if entry is None:
        return None
    namespace, _, name = site.client_id.partition("/")
    said = {"organization": site.organization} if site.organization else {}
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.CLIENT_KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": dict(entry.labels),
            "annotations": {names.ANNOTATION_REGISTERED: "true"},
        },
        "spec": said | dict(entry.spec),
    }
