"""`spec.evaluation` of a FederatedJob: evaluations beside those of the sites that train.

Used by federatedjob.py and by the operator, which resolves selectors to sites; what it means is in fedcore.rounds, heldout and evaluation_requests.
"""

from typing import Annotated

from pydantic import ConfigDict, Field

from fedapi.crd.clients import Selector
from fedapi.crd.fields import LIST_TYPE, Name, Part, rule, rules

EVALUATE_ONLY = (
    rule(
        "(self.rounds == 0) == (oldSelf.rounds == 0)",
        "whether rounds is 0 cannot change after creation: delete the job and create it anew",
    ),
    rule(
        "self.rounds > 0 || !has(self.restoreFrom)",
        "rounds 0 evaluates task.initialModel, which restoreFrom excludes: take the model out of the backup, or give rounds",
        ".rounds",
    ),
)


class EvaluationRequest(Part):
    """A committed round that chosen sites are to evaluate, whether they train or are held out. Each value is answered once."""

    round: int = Field(ge=0, le=2**31 - 1, description="Committed round whose model is kept.")
    id: Annotated[str, Field(max_length=63)] = Field(
        "",
        description="Any text, which status.evaluation repeats. Change it to ask again those that have not answered.",
    )
    clients: Annotated[list[Name], Field(min_length=1, max_length=100, json_schema_extra={LIST_TYPE: "set"})] | None = (
        Field(None, description="Names of FLClients of this job.")
    )
    selector: Selector | None = Field(
        None,
        description="Labels of FLClients of this job, in the place of clients. Without either: all sites of the job.",
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule("!(has(self.clients) && has(self.selector))", "clients and selector exclude each other: keep one")
        )
    )


class HeldOut(Part):
    """Sites that are held out of training: they evaluate committed models, and never train in this job."""

    selector: Selector = Field(
        description="Labels of the FLClients that are held out, also where `clients.selector` selects them. A site that has an "
        "update in this job already takes part in nothing while it is selected here.",
        json_schema_extra=rules(
            rule(
                "has(self.matchLabels) && size(self.matchLabels) > 0 || "
                "has(self.matchExpressions) && size(self.matchExpressions) > 0",
                "evaluation.heldOut.selector selects every site, so that none is left to train: give matchLabels or matchExpressions",
            )
        ),
    )
    every_rounds: int = Field(
        1, ge=1, le=100000, description="They evaluate the model of every n-th round, and that of the last."
    )


class Evaluation(Part):
    """Evaluations of committed models: at sites that are held out of training, and on request."""

    held_out: HeldOut | None = Field(None, description="Absent: no site is held out.")
    request: EvaluationRequest | None = Field(
        None, description="An evaluation of one committed round, now. status.evaluation says what became of it."
    )

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.heldOut) || has(self.request)",
                "evaluation needs heldOut or request: say who evaluates, or what",
            )
        )
    )
