"""Keys that a site may and may not have, and what becomes of them: (path, accepted, refused, words of the refusal), and changes."""

import base64

ONE, TWO, THREE = ({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in (1, 2, 3))
GONE = ONE | {"revoked": True}
IDENTITY = "spec.identity"
LATE, EARLY = "2027-06-01T00:00:00Z", "2027-01-01T00:00:00Z"


def keys(*entries):
    return {"keys": list(entries)}


OF_SITES = [
    (IDENTITY, keys(ONE), {}, ["identity.keys"]),
    (IDENTITY, keys(ONE, TWO), keys(), ["identity.keys"]),
    (IDENTITY, keys(ONE), keys(ONE, ONE), ["Duplicate"]),
    (IDENTITY, keys(ONE), keys({"publicKey": "AAAA"}), ["publicKey"]),
    (IDENTITY, keys(*({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in range(16))),
     keys(*({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in range(17))), ["identity.keys"]),
    (IDENTITY, keys(ONE | {"notBefore": EARLY, "notAfter": LATE}), keys(ONE | {"notBefore": LATE, "notAfter": EARLY}),
     ["notAfter must be later than notBefore"]),
    (IDENTITY, keys(ONE) | {"peers": {"configMapRef": {"name": "partners"}}}, keys(ONE) | {"peers": {}}, ["identity.peers.configMapRef"]),
]  # fmt: skip
# (identity before, identity after, words of the refusal; empty: it may become so)
CHANGES = [
    (keys(ONE), keys(ONE, TWO), ""),  # the overlap of a rotation
    (keys(ONE, TWO), keys(TWO), ""),
    (keys(ONE), keys(GONE), ""),
    (keys(GONE), keys(GONE, TWO), ""),
    (keys(GONE), keys(ONE), "a revoked key stays revoked: give the site another key"),
    (keys(GONE, TWO), keys(TWO), "a revoked key stays in the list: without it nobody could say that it is revoked"),
    (keys(ONE | {"notAfter": LATE}), keys(ONE | {"notAfter": "soon"}), "notAfter: Invalid value"),
    (keys(ONE), None, "identity cannot be removed: whoever had the site's token alone could speak for it again"),
]
