"""The job that evaluates a committed model of another one: no rounds, and that model to begin with. Pure.

Called by `fedloom evaluate`: for a job on a cluster that has ended it is printed, for a local one it is run (localevaluation.py).
"""

from fedapi import names
from fedapi.jsonvalue import Json

_MODEL_NAME_MOST = 63
# What says how a site evaluates, and what its pods are; the rest is about rounds.
_KEPT = ("task", "seed", "training", "aggregator", "managedBy", "pendingDeadline", "priorityClassName", "queueName")
_PLACES = ("storage", "events")  # where its own records are, and how it speaks to its sites


def spec(of: Json, model: Json, selector: Json, *, places: bool) -> Json:
    """Spec of that job, from that of the one whose model it is. `model`: its task.initialModel. `places`: with the same store and queues."""
    kept = {name: of[name] for name in (*_KEPT, *(_PLACES if places else ())) if name in of}
    clients, round_ = of.get("clients") or {}, of.get("round") or {}
    return {
        **kept,
        "task": {**of["task"], "initialModel": model},
        "rounds": 0,
        "clients": {"selector": selector, **{n: clients[n] for n in ("maxSamples",) if n in clients}},
        "round": {name: round_[name] for name in ("deadline",) if name in round_},
    }


def manifest(job: Json, round_: int, model: Json, selector: Json) -> Json:
    """It as a manifest for the namespace of the job on a cluster."""
    metadata, suffix = job["metadata"], f"-round-{round_}"
    name = f"{metadata['name'][: _MODEL_NAME_MOST - len(suffix)]}{suffix}"
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.JOB_KIND,
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "spec": spec(job["spec"], model, selector, places=True),
    }
