"""`spec.privacy.homomorphicEncryption` of a FederatedJob, and the rules of what it goes with. Used by privacy.py and federatedjob.py.

The protocol is in fedcore.homomorphic; docs/homomorphic-encryption.md says what is promised.
"""

from typing import Literal

from pydantic import Field

from fedapi.crd.fields import Part
from fedapi.crd.securesums import DEFAULT_RANGE, ExchangeTimeout, Kind, Overflow, Threshold, ValueRange, summed
from fedapi.duration import seconds
from fedapi.wire import secureround as wire


class HomomorphicEncryption(Part):
    """Sites encrypt their updates by a key that they share and the aggregator has not; it adds them up, and learns their sum alone.

    Every selected site has the key: one that works with the aggregator, or with who reads the store, reads all updates.
    """

    scheme: Literal["CKKS"] = Field(
        "CKKS",
        description="How updates are encrypted. CKKS: as whole numbers, so that their sum is exact to the last bit, with 128 bits of security.",
    )
    threshold: Threshold = Field(
        None,
        description="Sites that must stay until the sum is opened: a count, or a percentage of the selected sites such as 60%. Half of the "
        "sites are not sound, so that it is raised to more than that. Absent: round.quorum.",
    )
    value_range: ValueRange = None
    overflow: Overflow = None
    exchange_timeout: ExchangeTimeout = Field(
        "2m",
        description="How long each step after training (making the key, sending the encrypted update, agreeing on who is in the sum, opening "
        "it) waits for sites that are silent. The round goes on without them where threshold allows.",
    )

    def told(self) -> wire.SecureSettings:
        """As the aggregator is told."""
        return wire.SecureSettings(
            threshold=self.threshold,
            colluding=0,  # whom a site with the key colludes with reads all
            value_range=float(self.value_range or DEFAULT_RANGE),
            overflow=self.overflow or "Fail",
            exchange_timeout_s=seconds(self.exchange_timeout),
            scheme=self.scheme,
        )


ENCRYPTED = summed(  # rules of a FederatedJob's spec
    Kind(
        field="homomorphicEncryption",
        updates="encrypted",
        noise="ciphertexts",
        sum="an encrypted sum",
        dropped="an upload of 32 bytes a value",
        least="2",
        least_said="2",
    )
)
