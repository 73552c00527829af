"""What sites are answered that ask an aggregator for evidence whose job asks for no trusted execution environment."""

from fedaggregator.errors import RequestRefusedError
from fedapi.wire.attestation import Attestation, AttestationRequest
from fedapi.wire.site import Refusal


class Unattested:
    """No evidence."""

    async def attest(self, asked: AttestationRequest) -> Attestation:  # noqa: ARG002 - the port's
        """There is none."""
        message = "this job's aggregator is not confidential: set spec.aggregator.confidential, or use another job"
        raise RequestRefusedError(Refusal(code="Missing", message=message))
