"""site-evaluation.json: what a site measured outside of training, because it is held out or was asked to. Pure.

Written by the aggregator, read by it on recovery and by fedstore's reader of histories.
"""

from pydantic import Field

from fedapi.wire.message import Record, Sha256
from fedapi.wire.metrics import Metrics
from fedapi.wire.signature import SaidKeyId, SaidSignature
from fedapi.wire.site import EvaluationReport


class SiteEvaluationRecord(Record):
    """site-evaluation.json: what one site measured of the model of `round` outside of training. Bound by no commit.

    A record for each, whenever it comes: nobody waits for such a site, so no record of the round could have it for certain.
    """

    job_uid: str
    round: int = Field(ge=0)
    client: str
    model_sha256: Sha256
    samples: int = Field(ge=0)
    metrics: Metrics
    held_out: bool = Field(description="Whether the site has trained in no round of this job.")
    at: float
    signature: SaidSignature = None
    key_id: SaidKeyId = None

    @property
    def report(self) -> EvaluationReport:
        """What the site said, as it signed it."""
        return EvaluationReport.model_validate(
            self.model_dump(include=set(EvaluationReport.model_fields) - {"checksum"})
        )
