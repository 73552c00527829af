"""One CA replaces another without a moment in which somebody does not trust what somebody else shows. Pure but for entropy.

Called by `fedloom keys rotate-ca`, three times: the next CA is made and trusted; it issues; the one before is trusted no more. Between
two steps all certificates are renewed once, with the copies of trusted CAs beside them, which takes as long as one lives.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from fedoperator.certificates import authority_certificate, pem
from fedoperator.key_material import Keys


@dataclass(frozen=True)
class Step:
    """What was done, for people; `keys` is None where it is too early, and `again` when the next step may be made."""

    keys: Keys | None
    told: str
    again: datetime | None = None


def step(keys: Keys, now: datetime, lifetime: timedelta) -> Step:
    """The next step, where certificates live so long; ValueError when the Secret says nothing that can be gone on from."""
    going = keys.next_ca_cert or keys.previous_ca_cert
    if going and now < (due := datetime.fromisoformat(keys.ca_changed) + lifetime):
        return Step(None, "too early: not all certificates were renewed since the last step", due)
    changed = now.replace(microsecond=0)
    if keys.next_ca_cert:
        issuing = replace(
            keys,
            ca_key=keys.next_ca_key,
            ca_cert=keys.next_ca_cert,
            next_ca_key=b"",
            next_ca_cert=b"",
            previous_ca_cert=keys.ca_cert,
            ca_changed=changed.isoformat(),
        )
        told = "the next CA issues certificates from now on; the one before is still trusted"
        return Step(issuing, told, changed + lifetime)
    if keys.previous_ca_cert:
        return Step(replace(keys, previous_ca_cert=b"", ca_changed=""), "the CA before is trusted no more")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = authority_certificate(key, now).public_bytes(Encoding.PEM)
    made = replace(keys, next_ca_key=pem(key), next_ca_cert=certificate, ca_changed=changed.isoformat())
    return Step(made, "the next CA is made, and trusted beside the present one", changed + lifetime)
