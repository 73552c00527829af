"""Releases that a job may and may not ask for: (path, accepted, refused, words of the refusal)."""

ANN, BOB = ({"name": name, "publicKey": f"{'A' * 42}{name[0]}="} for name in ("ann", "bob"))
RELEASE = {"approvers": [ANN, BOB], "required": 2}
APPROVAL = {
    "approver": "ann", "decision": "Approve", "modelSHA256": "0" * 64, "cardSHA256": "1" * 64,
    "signature": f"{'A' * 86}==",
}  # fmt: skip
PATH = "spec.release"
OF_JOBS = [
    (PATH, RELEASE, RELEASE | {"required": 3}, ["release.required is more than there are approvers"]),
    (PATH, RELEASE, RELEASE | {"approvers": [ANN, ANN | {"name": "eve"}]}, ["has one publicKey twice"]),
    (PATH, {"approvers": [ANN]}, {"approvers": []}, ["spec.release.approvers"]),
    (PATH, {"approvers": [ANN, BOB]}, {"approvers": [ANN, ANN]}, ["spec.release.approvers[1]", "Duplicate value"]),
    (PATH, {"approvers": [ANN]}, {"approvers": [ANN | {"publicKey": "AAAA"}]}, ["publicKey"]),
    (PATH, RELEASE | {"approvals": [APPROVAL]}, RELEASE | {"approvals": [APPROVAL, APPROVAL]}, ["Duplicate value"]),
    (PATH, RELEASE, RELEASE | {"approvals": [APPROVAL | {"decision": "Maybe"}]}, ["decision"]),
    (
        PATH,
        RELEASE | {"approvals": [APPROVAL | {"number": 2}]},
        RELEASE | {"approvals": [APPROVAL | {"number": 0}]},
        ["number"],
    ),
    (PATH, RELEASE, RELEASE | {"approvals": [APPROVAL | {"signature": "short"}]}, ["signature"]),
    (PATH, RELEASE, RELEASE | {"approvals": [APPROVAL | {"cardSHA256": "short"}]}, ["cardSHA256"]),
]
IMMUTABLE = [
    (f"{PATH}.approvers", [ANN, BOB, {"name": "eve", "publicKey": "E" * 43 + "="}], "release.approvers cannot change"),
    (f"{PATH}.required", 1, "release.required cannot change"),
    (PATH, None, "release cannot be added or removed"),
]
