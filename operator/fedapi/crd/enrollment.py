"""`spec.enrollment` of an FLClient: that the site has to have a key of its own first, and the token by which it may ask for one.

Used by flclient.py. `fedloom site enroll`, `approve` and `deny` write it. Nothing of it is secret: it has the token's public half.
"""

from typing import Annotated

from pydantic import Field

from fedapi.crd.fields import LIST_TYPE, Part
from fedapi.crd.identity import Moment

Fingerprint = Annotated[str, Field(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}$")]


class JoinToken(Part):
    """A one-time token that was given to the site, and not used yet."""

    public_key: Annotated[str, Field(max_length=44, pattern=r"^[A-Za-z0-9+/]{43}=$")] = Field(
        description="Public half (Ed25519, base64) of the key that the token is: a request to join is signed by it."
    )
    not_after: Moment = Field(description="From then on nobody may join by it.")
    ca_fingerprints: Annotated[
        list[Fingerprint], Field(min_length=1, max_length=4, json_schema_extra={LIST_TYPE: "set"})
    ] = Field(
        description="SHA-256 of the CA certificates that the token brings to the site. A request names those that the site got, so "
        "that a token which was changed on its way is noticed.",
    )


class Enrollment(Part):
    """The site has to enroll a key."""

    join_token: JoinToken | None = Field(
        None, description="The token that is out. Absent: none is, or the last one was used or denied."
    )
