"""How sites train in a round that is planned: the job's settings, and what its strategy asks beside them. Pure.

Called by planning, by compatibility (whether a site's trainer can do it), and by the engine.
"""

from fedapi.wire.commit import CommitRecord
from fedapi.wire.job import JobConfig
from fedapi.wire.message import ObjectRef
from fedapi.wire.training import Method, TrainingSettings
from fedcore.strategies.table import UnknownStrategyError, rules


def method(config: JobConfig) -> Method | None:
    """What the job's strategy asks of its sites; nothing for one of another version, which no fold takes."""
    try:
        chosen = rules(config.strategy)
    except UnknownStrategyError:
        return None
    asked = chosen.strategy.site(chosen.parameters, max(1, sum(not entry.held_out for entry in config.roster)))
    divided = config.strategy.fragments
    return asked if asked is None or divided is None else asked.model_copy(update={"fragments": divided})


def handed_out(config: JobConfig, tip: CommitRecord) -> tuple[ObjectRef, ...]:
    """Objects that orders bring: the model, what the strategy keeps where trainings need it, the initial model with the rest."""
    asked = method(config)
    told = tip.hub_state if asked is not None and asked.control_variates is not None else None
    return tuple(dict.fromkeys(ref for ref in (tip.model, told, tip.initial) if ref is not None))


def settings(config: JobConfig) -> TrainingSettings:
    """How sites train in the next round that is planned."""
    asked = method(config)
    return config.training if asked is None else config.training.model_copy(update={"method": asked})
