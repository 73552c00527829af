"""Fedloom at a site: trains a task on local data and speaks to the aggregator.

Task authors import the names below and nothing else (docs/task-api.md). This module loads no torch, so that
the process says hello to the aggregator before the slow import.
"""

from fedtrainer.errors import DataMissingError
from fedtrainer.training.context import Context, Site
from fedtrainer.training.results import Data, EvalResult, TrainResult
from fedtrainer.training.task import Task

__all__ = ["Context", "Data", "DataMissingError", "EvalResult", "Site", "Task", "TrainResult"]
