"""The Task API: what a user writes (docs/task-api.md). Called by session.py; defaults are in loop.py.

No torch at import: the process loads it after it has said hello to the aggregator.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedapi.wire.training import TrainingSettings
from fedtrainer.training.context import Context, Site
from fedtrainer.training.results import Data, EvalResult, TrainResult

if TYPE_CHECKING:
    import torch


class Task:
    """What is trained. Write `model` and `data`; change the rest where the defaults do not fit."""

    def model(self) -> "torch.nn.Module":
        """The model, freshly initialized. Every call gives the same names and shapes.

        Write `model(self, width: float = 1.0)` where sites may train sub-models: leading slices of the tensors of width 1.
        """
        raise NotImplementedError("a Task needs model(): return a torch.nn.Module")

    def data(self, site: Site) -> Data:
        """This site's data. Raise DataMissing, naming the path, when it is not there."""
        raise NotImplementedError("a Task needs data(site): return Data(train, test)")

    def loss(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Mean loss of a batch. Default: cross entropy for integer targets, mean squared error for real ones."""
        from fedtrainer.training import loop  # noqa: PLC0415 - torch is loaded late

        return loop.default_loss(outputs, targets)

    def metrics(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> Mapping[str, float]:
        """Means over the samples of a test batch, by name. Default: accuracy for integer targets.

        The headline of the job's status is `stop.metric`, else `accuracy`, else the first by name.
        """
        from fedtrainer.training import loop  # noqa: PLC0415 - torch is loaded late

        return loop.default_metrics(outputs, targets)

    def train(self, model: "torch.nn.Module", data: Data, settings: TrainingSettings, ctx: Context) -> TrainResult:
        """Changes `model` in place. Default: the torch loop with the job's optimizer, epochs and batch size."""
        from fedtrainer.training import loop  # noqa: PLC0415 - torch is loaded late

        return loop.train(self, model, data, settings, ctx)

    def evaluate(self, model: "torch.nn.Module", data: Data, settings: TrainingSettings, ctx: Context) -> EvalResult:
        """Metrics of `model` on data.test. Default: means of `metrics`, and `loss`, over all test samples."""
        from fedtrainer.training import loop  # noqa: PLC0415 - torch is loaded late

        return loop.evaluate(self, model, data, settings, ctx)
