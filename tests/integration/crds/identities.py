"""Keys that a site may and may not have, and what becomes of them: (path, accepted, refused, words of the refusal), and changes."""

import base64

ONE, TWO, THREE = ({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in (1, 2, 3))
GONE = ONE | {"revoked": True}
IDENTITY = "spec.identity"
TOKEN = ONE | {"notAfter": "2027-06-01T00:00:00Z", "caFingerprints": ["0" * 64]}
OTHERS = [f"{n:064x}" for n in range(5)]
LATE, EARLY = "2027-06-01T00:00:00Z", "2027-01-01T00:00:00Z"


def keys(*entries):
    return {"keys": list(entries)}


OF_SITES = [
    (IDENTITY, keys(ONE), {}, ["identity.keys"]),
    (IDENTITY, keys(ONE, TWO), keys(), ["identity.keys"]),
    (IDENTITY, keys(ONE), keys(ONE, ONE), ["Duplicate"]),
    (IDENTITY, keys(ONE), keys({"publicKey": "AAAA"}), ["publicKey"]),
    (IDENTITY, keys(*({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in range(64))),
     keys(*({"publicKey": base64.b64encode(bytes([n]) * 32).decode()} for n in range(65))), ["identity.keys"]),
    (IDENTITY, keys(ONE | {"notBefore": EARLY, "notAfter": LATE}), keys(ONE | {"notBefore": LATE, "notAfter": EARLY}),
     ["notAfter must be later than notBefore"]),
    (IDENTITY, keys(ONE) | {"peers": {"configMapRef": {"name": "partners"}}}, keys(ONE) | {"peers": {}}, ["identity.peers.configMapRef"]),
    ("spec.enrollment", {}, {"joinToken": ONE}, ["joinToken.notAfter", "joinToken.caFingerprints"]),
    ("spec.enrollment", {"joinToken": TOKEN}, {"joinToken": TOKEN | {"publicKey": "AAAA"}}, ["joinToken.publicKey"]),
    ("spec.enrollment.joinToken", TOKEN, TOKEN | {"notAfter": "soon"}, ["joinToken.notAfter"]),
    ("spec.enrollment.joinToken", TOKEN | {"caFingerprints": OTHERS[:4]}, TOKEN | {"caFingerprints": OTHERS}, ["caFingerprints"]),
    ("spec.enrollment.joinToken", TOKEN, TOKEN | {"caFingerprints": ["0" * 63]}, ["caFingerprints"]),
    ("spec.enrollment.joinToken", TOKEN, TOKEN | {"caFingerprints": []}, ["caFingerprints"]),
]  # fmt: skip
# (identity before, identity after, words of the refusal; empty: it may become so)
CHANGES = [
    (keys(ONE), keys(ONE, TWO), ""),  # the overlap of a rotation
    (keys(ONE, TWO), keys(TWO), "a key stays in the list, since what it signed is verified by it"),
    (keys(ONE, TWO), keys(TWO, ONE), ""),
    (keys(ONE), keys(GONE), ""),
    (keys(GONE), keys(GONE, TWO), ""),
    (keys(GONE), keys(ONE), "a revoked key stays revoked: give the site another key"),
    (keys(GONE, TWO), keys(TWO), "a key stays in the list"),
    (keys(ONE | {"notAfter": LATE}), keys(ONE | {"notAfter": "soon"}), "notAfter: Invalid value"),
    (keys(ONE), None, "identity cannot be removed: whoever had the site's token alone could speak for it again"),
]
