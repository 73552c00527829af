"""Policy: the SiteStateKept condition of a job whose sites keep something from update to update: whether it outlives their pods.

Absent where strategy, training and compression leave nothing at the sites; what a task keeps in ctx.state nobody here knows of.
It stops nobody: a pod that lives as long as the job loses nothing.
"""

from collections.abc import Iterator

from fedapi.crd.federatedjob import FederatedJobSpec
from fedapi.crd.flclient import FLClientSpec
from fedoperator.decide.context import JobContext
from fedoperator.decide.facts import Fact, clipped
from fedoperator.decide.reasons import Reason

_SHOWN = 10  # sites in a message
_OF_STRATEGIES = {"SCAFFOLD": "SCAFFOLD's controls", "DiLoCo": "DiLoCo's moments"}


def fact(context: JobContext) -> Fact | None:
    """The condition; None: nothing stays at the sites, as far as the spec says."""
    what = ", ".join(_needed(context.spec))
    if not what:
        return None
    if context.status.outcome is not None:
        return Fact("Unknown", Reason.FINISHED, "the job has ended: no site needs its state any more")
    accounts = _keeps_accounts(context.spec)
    without = [site.name for site in context.sites if not _outlives(site.client.spec, accounts)]
    if not without:
        return Fact("True", Reason.SITE_STATE_KEPT, f"what stays at the sites ({what}) outlives their pods")
    named = ", ".join(without[:_SHOWN]) + (f" and {len(without) - _SHOWN} more" if len(without) > _SHOWN else "")
    when = "after every round (training.lifetime Round)" if context.by_round else "with their pods"
    way_out = "spec.state" if accounts else "spec.state, or spec.entrustedState with everyRounds 1"
    message = f"{named} lose what stays at the sites ({what}) {when}: give these FLClients {way_out}"
    return Fact("False", Reason.SITE_STATE_AT_RISK, clipped(message))


def _needed(spec: FederatedJobSpec) -> Iterator[str]:
    """What is there at the sites from one update to the next."""
    if spec.strategy.name in _OF_STRATEGIES:
        yield _OF_STRATEGIES[spec.strategy.name]
    if spec.strategy.fragments:
        yield "fragments that wait for their turn"
    if spec.training.local_parameters:
        yield "tensors of training.localParameters"
    compression = spec.compression.told() if spec.compression else None
    if compression is not None and compression.error_feedback:
        yield "what compression has not sent yet"
    if _keeps_accounts(spec):
        yield "the accounts of privacy.dpSGD"


def _keeps_accounts(spec: FederatedJobSpec) -> bool:
    """Whether sites account for what has left them, which nobody else can keep for them: not the hub either."""
    return spec.privacy is not None and spec.privacy.dp_sgd is not None


def _outlives(site: FLClientSpec, accounts: bool) -> bool:
    """Whether a site's next pod finds what this one has left."""
    entrusted = site.entrusted_state is not None and site.entrusted_state.every_rounds == 1
    return site.state is not None or (entrusted and not accounts)
