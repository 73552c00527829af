"""Asynchronous rounds: whose work still counts, and for how long. Pure; the one place that knows which jobs have such rounds.

A round is a buffer. An order names the round under way when it was given and starts from the newest model; what answers it
counts in that round or in a later one, as long as no more than maxStaleness commits came in between. A site is in a buffer
once: with an update that is in no model yet it waits, so that each of its orders follows from the commit of the one before.
"""

from fedapi.wire.job import JobConfig
from fedapi.wire.plan import PlanRecord
from fedapi.wire.site import Refusal
from fedcore.rounds.effects import Unsettled
from fedcore.rounds.state import Phase, State

ASYNCHRONOUS = frozenset({"FedBuff"})  # by the strategy's name
BUFFER_SIZE = "buffer_size"  # of the strategy's numbers
DEFAULT_MAX_STALENESS = 20  # round.maxStaleness


def is_asynchronous(config: JobConfig) -> bool:
    """Whether a job has asynchronous rounds."""
    return config.strategy.name in ASYNCHRONOUS


def max_staleness(config: JobConfig) -> int | None:
    """What a plan is to freeze; None in synchronous rounds."""
    if not is_asynchronous(config):
        return None
    return DEFAULT_MAX_STALENESS if config.max_staleness is None else config.max_staleness


def buffer_size(config: JobConfig, sites: int) -> int:
    """How many updates make a round: no more than sites that may be in it."""
    return min(sites, max(1, int(config.strategy.parameters.get(BUFFER_SIZE, sites))))


def asked(plan: PlanRecord) -> int:
    """How many updates a person waits for: those of all selected sites, or of a full buffer."""
    is_buffer = plan.acceptance is not None and plan.acceptance.max_staleness is not None
    return plan.wanted if is_buffer and plan.wanted else len(plan.selected)


def into(state: State) -> int:
    """The round that an update which comes now will be in: while one is folded the next."""
    return state.round + (state.phase is Phase.FOLDING)


def since(state: State) -> int:
    """The oldest round whose orders count. A rollback has made all orders before it void."""
    most = state.current.max_staleness if state.current else None
    most = most if most is not None else max_staleness(state.config) or 0
    return max(1, _rolled_back(state) + 1, into(state) - most)


def _rolled_back(state: State) -> int:
    """The round of the last rollback; 0 without any."""
    if state.line is None:
        return 0
    return next(
        n for n in range(len(state.history) - 1, -1, -1) if n == 0 or state.history[n].rolled_back_to is not None
    )


def unsettled(state: State) -> Unsettled | None:
    """The updates that a Discard must leave; None in synchronous rounds, where there are none."""
    if not is_asynchronous(state.config):
        return None
    folded = {client: site.committed.round for client, site in state.sites.items() if site.committed}
    return Unsettled(since(state), folded)


def takes_updates(state: State) -> bool:
    """Whether what comes now may be in a model."""
    return state.tip is not None and state.end is None and state.phase not in (Phase.EVALUATING, Phase.FINISHED)


def refusal(state: State, client: str, round_: int, attempt: int) -> Refusal | None:
    """Why an answer to that order of a site would not count; None: it would, or does already."""
    if (text := _stale_round(state, client, round_)) or (text := _closed_to(state)):
        return Refusal(code="StaleRound", message=f"{text}: ask next")
    if text := _stale_attempt(state, client, round_, attempt):
        return Refusal(code="StaleAttempt", message=f"{text}: ask next")
    taken = state.accepted.get(client)
    if taken is not None and (taken.round, taken.attempt) != (round_, attempt):
        text = f"site {client!r} has an update of round {taken.round} that is in no model yet"
        return Refusal(code="Duplicate", message=f"{text}: ask next")
    return None


def _closed_to(state: State) -> str:
    return "" if takes_updates(state) else f"no round takes updates now (round {state.round} is next)"


def _stale_round(state: State, client: str, round_: int) -> str:
    if round_ > state.round:
        return f"round {round_} is not open, round {state.round} is"
    if round_ < (oldest := since(state)):
        text = f"the order of round {round_} is {into(state) - round_} rounds old, those before round {oldest} count no more"
        return f"{text} (round.maxStaleness, or a rollback)"
    last = state.site(client).committed
    if last is not None and round_ <= last.round:
        return f"site {client!r} has an update of round {last.round} in the model, this is of round {round_}"
    return ""


def _stale_attempt(state: State, client: str, round_: int, attempt: int) -> str:
    if attempt < 1 or (round_ == state.round and attempt > state.attempt):
        return f"attempt {attempt} of round {round_} was not begun, attempt {state.attempt} is open"
    if dropped(state, client, round_, attempt):
        return f"no model came of the update of round {round_} attempt {attempt} of site {client!r}"
    return ""


def dropped(state: State, client: str, round_: int, attempt: int) -> bool:
    """Whether an accepted update counts no more, because a model with it was none."""
    said = (client, round_, attempt)
    return any((d.client, d.round, d.attempt) == said for failure in state.void for d in failure.dropped)


def base_sha256(state: State, round_: int) -> str:
    """Digest of the model that orders of a round start from."""
    return state.history[round_ - 1].model if 0 < round_ <= len(state.history) else ""
