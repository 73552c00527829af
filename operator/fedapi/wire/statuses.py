"""The status of a refusal's answer (what each means is in fedapi.wire.site): of HTTP, and the same in a queue's answer."""

from collections.abc import Mapping
from types import MappingProxyType

# 410 for Missing: the site does the same as for an expired URL, it asks for a new one.
STATUS: Mapping[str, int] = MappingProxyType(
    {
        "Unauthorized": 401, "NotInJob": 403,
        "Incomplete": 400,
        "TooSlow": 408,
        "StaleRound": 409, "StaleAttempt": 409, "NotSelected": 409, "WrongBase": 409, "Duplicate": 409,
        "Expired": 410, "Missing": 410,
        "TooLarge": 413,
        "WrongDigest": 422, "WrongSize": 422, "WrongShape": 422, "NotFinite": 422, "Malformed": 422,
        "Incompatible": 422,
        "Unsigned": 422, "UnknownKey": 422, "RevokedKey": 422, "WrongSignature": 422,
        "StoreFull": 503, "Stopping": 503, "Busy": 503,
    }
)  # fmt: skip
