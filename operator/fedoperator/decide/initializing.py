"""Policy: the init Job, which makes the initial model once. A changed template replaces it while there is no model yet."""

from fedapi.jsonvalue import JsonView
from fedoperator.decide.context import JobContext


def _name(context: JobContext) -> str:
    return str(context.wanted_init["metadata"]["name"])


def jobs(context: JobContext) -> tuple[JsonView, ...]:
    """The init Job; none once there is a model, or while an old one is in the way."""
    old = any(job.name != _name(context) or job.deleting for job in context.init_jobs)
    if context.initialized or old or context.spec.restore_from is not None:
        return ()
    return (context.wanted_init,) if context.init_jobs or not context.spec.suspend else ()


def kept(context: JobContext, job: JsonView) -> bool:
    """Whether a live init Job stays: it is the wanted one, or the record of when the model was made."""
    return context.initialized or job["metadata"]["name"] == _name(context)
