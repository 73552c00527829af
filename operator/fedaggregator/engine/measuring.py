"""Counts the values of an update that are summed under masks, before a round of them is planned. Blocking; run in a thread.

They are those of fedcore.secagg.vector, which sites go by, too. All models of a job have the same tensors, so it is asked once.
"""

from fedaggregator.engine import content, hubstate
from fedaggregator.errors import StoreDamagedError
from fedcore.rounds.effects import Measure
from fedcore.rounds.events import Measured
from fedcore.secagg import vector
from fedcore.tensors.tensorfile import MalformedTensorFileError
from fedstore.errors import MissingError
from fedstore.objectstore import ObjectStore


def measured(store: ObjectStore, order: Measure, now: float) -> Measured:
    """How many, and of which tensors. StoreDamagedError where the model cannot be read."""
    try:
        table = content.read_table(store, order.model.key).exchanged
        names = tuple(hubstate.form(store, table, 0, order.hub_state).by_name()) if order.parameters else None
    except (MissingError, MalformedTensorFileError) as error:
        raise StoreDamagedError(f"{order.model.key}: {error}") from error
    return Measured(now, vector.items(vector.carried(table, names)), names)
