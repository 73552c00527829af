"""A site's keys: what the aggregator is told of the public ones, how the site's pods get the private one and those of its peers. Pure.

Used by the builders of training Jobs and of the aggregator's configuration. The Secret's name carries the site's, so no FLClient can
name another site's; no pod of the hub mounts one.
"""

from datetime import datetime

from fedapi import names
from fedapi.crd.flclient import FLClient
from fedapi.wire.signature import SiteKey
from fedoperator.desired.pod import Mount, secret_source


def secret_name(client: str) -> str:
    """Of the Secret that the site's owner makes."""
    return f"{names.SITE_KEY_SECRET_PREFIX}{client}"


def environment(client: FLClient) -> dict[str, str]:
    """Nothing where the site has no keys."""
    identity = client.spec.identity
    if identity is None:
        return {}
    peers = {names.ENV_PEER_KEYS_DIR: names.PATH_PEER_KEYS} if identity.peers else {}
    return {names.ENV_SIGNING_KEY_DIR: names.PATH_SIGNING_KEY} | peers


def mounts(client: FLClient) -> tuple[Mount, ...]:
    """The same."""
    identity = client.spec.identity
    if identity is None:
        return ()
    own = Mount("signing-key", secret_source(secret_name(client.metadata.name)), names.PATH_SIGNING_KEY, read_only=True)
    if identity.peers is None:
        return (own,)
    source = {"configMap": {"name": identity.peers.config_map_ref.name}}
    return own, Mount("peer-keys", source, names.PATH_PEER_KEYS, read_only=True)


def public_keys(client: FLClient) -> tuple[SiteKey, ...]:
    """As the aggregator is told of them."""
    identity = client.spec.identity
    return tuple(
        SiteKey(
            public_key=key.public_key,
            not_before=_seconds(key.not_before),
            not_after=_seconds(key.not_after),
            revoked=key.revoked,
        )
        for key in (identity.keys if identity else ())
    )


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.fromisoformat(moment).timestamp()
