"""`spec.identity` of an FLClient: the public keys by which the site signs what it sends. Used by flclient.py.

Rotation is an overlap: two keys, of which both are valid for a while. Revocation is final. A key never leaves the list, so that what
it signed before can be verified, and nobody can make one that was revoked valid again.
"""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field

from fedapi import names
from fedapi.crd.fields import Part, listed_by, rule, rules
from fedapi.crd.sitedata import ConfigMapSource
from fedapi.wire.signature import MAX_KEYS

KEPT = rule(
    "has(self.identity) || !has(oldSelf.identity)",
    "identity cannot be removed: whoever had the site's token alone could speak for it again; delete the FLClient and create it anew",
)


def _moment(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("must name its zone, such as 2027-01-31T00:00:00Z")
    return text


Moment = Annotated[str, AfterValidator(_moment), Field(max_length=40, json_schema_extra={"format": "date-time"})]


class IdentityKey(Part):
    """One key, or one that the site had."""

    public_key: Annotated[str, Field(max_length=44, pattern=r"^[A-Za-z0-9+/]{43}=$")] = Field(
        description="The 32 raw bytes of an Ed25519 public key in base64, as `fedloom site key new` and `show` print them."
    )
    not_before: Moment | None = Field(None, description="It signs nothing before; absent: it is valid at once.")
    not_after: Moment | None = Field(None, description="It signs nothing from then on; absent: it does not end.")
    revoked: bool = Field(
        False, description="True: it signs nothing any more, from the next message on. It cannot be taken back."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter",
                "notAfter must be later than notBefore",
                ".notAfter",
            ),
            rule(
                "self.revoked || !oldSelf.revoked",
                "a revoked key stays revoked: give the site another key",
                ".revoked",
            ),
        )
    )


class Peers(Part):
    """Where the site has the other sites' public keys from, if not from the hub."""

    config_map_ref: ConfigMapSource = Field(
        description="A ConfigMap of the site's namespace, with an entry per site: its FLClient's name, and its public keys as `fedloom "
        "site key show` prints them, one a line. A mounted change counts from the next round on."
    )


class Identity(Part):
    """Who the site is, beyond the token that the hub gave it."""

    keys: Annotated[
        list[IdentityKey],
        Field(
            min_length=1,
            max_length=MAX_KEYS,
            json_schema_extra=listed_by("publicKey")
            | rules(
                rule(
                    "oldSelf.all(old, self.exists(key, key.publicKey == old.publicKey))",
                    "a key stays in the list, since what it signed is verified by it: set revoked: true, or its notAfter",
                )
            ),
        ),
    ] = Field(
        description="Updates, evaluations and failure reports of the site are taken only where one of these has signed them. Training "
        f"pods mount the private key from the Secret {names.SITE_KEY_SECRET_PREFIX}<name of the FLClient>, `{names.FILE_SIGNING_KEY}`."
    )
    peers: Peers | None = Field(
        None,
        description="The other sites' keys, as this site's owner had them from their owners: in rounds with secure aggregation it "
        "takes part with these sites under these keys alone. Absent: a site's key is what the first round of the job said.",
    )
