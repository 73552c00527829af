"""What a training pod is told of the state that its site entrusts to the hub, and the Secret by which it encrypts it. Pure.

Used by the builder of training Jobs. No pod of the hub mounts that Secret.
"""

from fedapi import names
from fedapi.crd.flclient import FLClientSpec
from fedoperator.desired.pod import Mount, secret_source


def environment(site: FLClientSpec) -> dict[str, str]:
    """Nothing where the site entrusts nothing."""
    entrusted = site.entrusted_state
    if entrusted is None:
        return {}
    return {
        names.ENV_STATE_KEY_DIR: names.PATH_STATE_KEY,
        names.ENV_ENTRUST_EVERY_ROUNDS: str(entrusted.every_rounds),
        names.ENV_ENTRUST_KEEP_LAST: str(entrusted.keep_last),
    }


def mounts(site: FLClientSpec) -> tuple[Mount, ...]:
    """The same."""
    if site.entrusted_state is None:
        return ()
    source = secret_source(site.entrusted_state.key_secret_ref.name)
    return (Mount("state-key", source, names.PATH_STATE_KEY, read_only=True),)
