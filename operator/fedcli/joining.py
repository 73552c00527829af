"""Whether a request to join counts, and what an FLClient's spec says before and after. Pure; used by enrollment.py."""

from collections.abc import Sequence
from datetime import datetime

from fedapi.crd.enrollment import JoinToken as OpenToken
from fedapi.crd.flclient import FLClientSpec
from fedapi.jsonvalue import Json
from fedapi.wire.enrollment import JoinRequest, JoinToken, fingerprints
from fedapi.wire.signature import MAX_KEYS


def opened(token: JoinToken) -> Json:
    """`spec.enrollment` while the token is out."""
    open_token = OpenToken(
        public_key=token.key.public_key,
        not_after=token.not_after.isoformat(),
        ca_fingerprints=fingerprints(token.authorities),
    )
    return {"joinToken": open_token.dump()}


def refusal(request: JoinRequest, site: str, spec: FLClientSpec, now: datetime) -> str:
    """Why the request is not let in; empty: it may be, once a person has compared its key id."""
    token = spec.enrollment.join_token if spec.enrollment else None
    checks = (
        (request.site != site, f"it is of site {request.site!r}, not of {site!r}"),
        (token is None, f"no token of {site} is out: it was used or denied, or never made; give it a new one by `fedloom site enroll`"),
        (token is not None and _other(token, request), f"it was made by another token than the one that {site} was given last"),
        (token is not None and _over(token, now), "its token has ended: give the site a new one by `fedloom site enroll`"),
        (
            token is not None and _astray(token, request),
            "the token was changed on its way, since the site trusts other CA certificates than it had: give the site another, more safely",
        ),
        (_revoked(spec, request.public_key), f"key {request.key_id} was revoked: the site has to make another"),
        (
            not enrolled(spec, request.public_key) and len(_keys(spec)) >= MAX_KEYS,
            f"spec.identity.keys has {MAX_KEYS} keys already: delete the FLClient and create it anew",
        ),
    )  # fmt: skip
    return next((told for holds, told in checks if holds), "")


def enrolled(spec: FLClientSpec, public_key: str) -> bool:
    """Whether a key is the site's already."""
    return any(each["publicKey"] == public_key for each in _keys(spec))


def is_in(spec: FLClientSpec, request: JoinRequest) -> bool:
    """Whether the request was approved before: a command that was cut off is given again."""
    return enrolled(spec, request.public_key) and not _revoked(spec, request.public_key)


def let_in(spec: FLClientSpec, public_key: str) -> Json:
    """What of the spec changes when a request is approved: the key is the site's, and the token is used. One write does both."""
    added: Sequence[Json] = () if enrolled(spec, public_key) else ({"publicKey": public_key},)
    return {"identity": {"keys": [*_keys(spec), *added]}, "enrollment": None}


def _keys(spec: FLClientSpec) -> list[Json]:
    return [each.dump() for each in spec.identity.keys] if spec.identity else []


def _revoked(spec: FLClientSpec, public_key: str) -> bool:
    return any(each["publicKey"] == public_key and each.get("revoked") for each in _keys(spec))


def _other(token: OpenToken, request: JoinRequest) -> bool:
    return token.public_key != request.token_key


def _over(token: OpenToken, now: datetime) -> bool:
    return now >= datetime.fromisoformat(token.not_after)


def _astray(token: OpenToken, request: JoinRequest) -> bool:
    return sorted(token.ca_fingerprints) != sorted(request.authorities)
