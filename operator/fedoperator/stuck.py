"""Is a pod waiting for a volume or a Secret that may be gone? Pure; asked by reconcile.py in every pass.

The operator cannot read Secrets, so it learns that one was deleted by hand only from a pod that does not start.
"""

from collections.abc import Iterable
from datetime import datetime

from fedapi import names
from fedapi.jsonvalue import JsonView
from fedoperator.decide.pending import lacks_source
from fedoperator.decide.view import PodView

PATIENCE_S = 20.0  # mounts of a healthy pod are done by then
_ROLES = frozenset({names.ROLE_AGGREGATOR, names.ROLE_INIT, names.ROLE_TRAINER})  # they mount Secrets
RECHECK_S = 60.0  # between two attempts to bring Secrets back


def stuck_for_s(pods: Iterable[JsonView], now: datetime) -> float | None:
    """Seconds for which the longest waiting pod has had a node but no mounts or configuration; None: no pod waits."""
    ours = (pod for pod in map(PodView.of, pods) if pod.role in _ROLES)
    waits = [(now - pod.scheduled).total_seconds() for pod in ours if pod.scheduled and lacks_source(pod)]
    return max(waits, default=None)
