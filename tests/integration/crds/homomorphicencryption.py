"""What encrypted sums take and go with: (path, accepted, refused, words of the refusal)."""

from tests.integration.crds.privacy import WHOLE
from tests.integration.crds.securesums import field, of_kind

NAME = "homomorphicEncryption"
WORDS = {
    "compression": "encrypted updates cannot be compressed",
    "modelWidth": "an encrypted sum",
    "overSelection": "an upload of 32 bytes a value",
    "perRound": "2",
}
ENCRYPTED = [
    *of_kind(NAME, 2, WORDS),
    field(NAME, {"scheme": "CKKS"}, {"scheme": "BFV"}, "spec.privacy.homomorphicEncryption.scheme"),
]
ENCRYPTED_SPEC = WHOLE | {"privacy": {NAME: {}}}
FIXED_ENCRYPTED = [  # of a job with that spec
    ("spec.privacy", None, "privacy.homomorphicEncryption cannot be added or removed"),
    ("spec.privacy", {"secureAggregation": {}}, "privacy.homomorphicEncryption cannot be added or removed"),
]
