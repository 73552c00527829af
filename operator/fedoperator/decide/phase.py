"""The phase: one word for the eye, derived from the same facts as the conditions. Nothing reads it back."""

from fedoperator.decide.facts import Ending
from fedoperator.decide.progress import in_rounds
from fedoperator.decide.reasons import Phase
from fedoperator.decide.scene import Scene


def phase(scene: Scene, ending: Ending | None) -> Phase:
    """The phase of a job."""
    if ending is not None:
        return Phase.COMPLETE if ending.complete else Phase.FAILED
    if scene.spec.suspend:
        return Phase.SUSPENDED
    if in_rounds(scene):
        return Phase.RUNNING
    if not any(pod.phase == "Running" for pod in scene.aggregator_pods):
        return Phase.PENDING
    return Phase.WAITING if scene.initialized else Phase.INITIALIZING
