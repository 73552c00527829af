"""Sites that have spent their own privacy budget (spec.privacy.dpSGD.targetEpsilon): they are selected no more. Pure.

A site accounts for itself, and says so instead of training, as a failure with this reason; machine and asynchronous note it, closing
tells such an attempt from others, and planning goes by it: where too few sites are left for any round, the job ends. A site is asked
anew where another training is asked of it (a higher target, fewer steps), and by an aggregator that starts again, which does not know.
"""

from dataclasses import replace

from fedapi.wire.plan import PlanRecord
from fedapi.wire.training import TrainingSettings
from fedcore.rounds.attempt import Attempt
from fedcore.rounds.budget import SPENT
from fedcore.rounds.state import End, State
from fedcore.selection import choice

_NAMED = 10  # sites in a message


def noted(state: State, plan: PlanRecord, client: str, reason: str) -> State:
    """The state after a site has failed at that plan for this reason."""
    if reason != SPENT or plan.training.dp_sgd is None:
        return state
    return state.with_site(client, replace(state.site(client), spent=_asked(plan, client)))


def in_attempt(state: State, attempt: Attempt) -> bool:
    """Whether sites have said so in it: they are not selected again, so that no attempt fails twice for the same site."""
    return any(state.site(client).spent == _asked(attempt.plan, client) for client in attempt.failed)


def is_spent(state: State, client: str) -> bool:
    """Whether a site would not train. One whose update is here has its part in the next round."""
    spent = state.site(client).spent
    return spent is not None and client not in state.carried and spent == state.training_of(client)


def over(state: State, now: float) -> End | None:
    """How a job ends with too few sites left for any round; None: there are enough, those that may come back included."""
    asked = state.config.training.dp_sgd
    if asked is None or asked.target_epsilon is None:
        return None
    able = state.roster.by_name.keys() - state.roster.suspended
    sites = sorted(name for name in able if not state.roster.by_name[name].held_out)
    spent = [name for name in sites if is_spent(state, name)]
    least, root = choice.least(state.config), state.config.strategy.root
    if not spent or (len(sites) - len(spent) >= least and root not in spent):
        return None
    needed = f"a round needs {least}" if root not in spent else f"each round needs that of the root client {root!r}"
    named = ", ".join(spent[:_NAMED]) + (", …" if len(spent) > _NAMED else "")
    text = (
        f"{len(spent)} of {len(sites)} sites have spent privacy.dpSGD.targetEpsilon {asked.target_epsilon:g} ({named}), and {needed}: "
        "for more rounds make a new job with a higher one"
    )
    made = any(site.part.accepted for site in state.sites.values())
    return End("Succeeded" if made else "Failed", SPENT, text, now)


def _asked(plan: PlanRecord, client: str) -> TrainingSettings:
    """What a site was asked for, as the configuration says it: without what the strategy adds."""
    return plan.training_of(client).model_copy(update={"method": None})
