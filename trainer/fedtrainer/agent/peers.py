"""The other sites' public keys, as this site knows them: from a folder of its own, or as they were when it saw them first.

    <peer keys>/<site>                          one file per site, a key per line (base64); mounted from a ConfigMap of the site's side
    <state>/<job uid>/<client>/state/peers.json without such a folder: keys by site, since the first order that named them

Called by securing.py. Whoever chooses the roster could be on it several times, under names of its own: a site that has a folder
takes part with no site that is not in it. What was seen first outlives what a hub calls the end of the job.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path

from fedapi import names
from fedapi.wire.secagg import KEY_BYTES
from fedtrainer.errors import BadSettingsError, RejectedError
from fedtrainer.training import durable

UNTRUSTED = "UntrustedPeer"  # code of the refusal
_KEPT = "peers.json"


class Peers:
    """Of one site in one job."""

    def __init__(self, folder: Path | None, state: Path) -> None:
        self._folder, self._kept = folder, state / _KEPT

    def pinned(self, roster: Mapping[str, bytes], own: Mapping[str, bytes]) -> dict[str, bytes]:
        """The roster's keys, each of which this site trusts. RejectedError names the site whose key it does not.

        `own`: this site's own name and key, whatever others say of it.
        """
        return _agreed(roster, own) | (self._of_folder(roster) if self._folder else self._of_first_use(roster))

    def _of_folder(self, roster: Mapping[str, bytes]) -> dict[str, bytes]:
        for site, key in sorted(roster.items()):
            if key not in self._keys(site):
                way_out = f"its owner says which is right; then put that into the ConfigMap of spec.identity.peers, entry {site!r}"
                raise RejectedError(
                    UNTRUSTED, f"the key of site {site!r} in the order is not in {self._folder}: {way_out}"
                )
        return dict(roster)

    def _keys(self, site: str) -> tuple[bytes, ...]:
        path = (self._folder or Path()) / site
        try:
            lines = path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettingsError(f"{names.ENV_PEER_KEYS_DIR}: {path} is not readable ({error})") from error
        return tuple(_key(path, line) for line in lines)

    def _of_first_use(self, roster: Mapping[str, bytes]) -> dict[str, bytes]:
        known = self._known()
        for site, key in sorted(roster.items()):
            if known.get(site, key) != key:
                way_out = (
                    f"if its owner has changed it, say so by a ConfigMap in spec.identity.peers, or delete {self._kept}"
                )
                raise RejectedError(
                    UNTRUSTED, f"site {site!r} has another key than when this site saw it first: {way_out}"
                )
        if roster.keys() - known.keys():
            self._keep({**known, **roster})
        return dict(roster)

    def _known(self) -> dict[str, bytes]:
        try:
            return {
                site: base64.b64decode(text, validate=True) for site, text in json.loads(self._kept.read_text()).items()
            }
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError) as error:
            raise BadSettingsError(
                f"{self._kept} is damaged ({error}): delete it, and the keys of the next order are taken for the sites'"
            ) from error

    def _keep(self, keys: Mapping[str, bytes]) -> None:
        text = json.dumps({site: base64.b64encode(key).decode() for site, key in sorted(keys.items())})
        durable.write(self._kept, text.encode())


def _agreed(roster: Mapping[str, bytes], own: Mapping[str, bytes]) -> dict[str, bytes]:
    for site, key in own.items():
        if roster.get(site) != key:
            way_out = "give FLClient spec.identity.keys and the mounted Secret the same key"
            raise RejectedError(
                UNTRUSTED, f"the order has another key of this site, {site!r}, than it signs by: {way_out}"
            )
    return dict(own)


def _key(path: Path, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        key, why = b"", f" ({error})"
    else:
        why = ""
    if len(key) != KEY_BYTES:
        form = "the 32 bytes of an Ed25519 public key in base64, as `fedloom site key show` prints them"
        raise BadSettingsError(f"{names.ENV_PEER_KEYS_DIR}: {path} has {text[:60]!r}{why}: each line is {form}")
    return key
