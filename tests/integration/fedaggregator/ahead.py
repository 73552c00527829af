"""Runs the aggregator with a clock that is an hour ahead as soon as the file named by AHEAD is there: deadlines pass when a test says so."""

import os
import sys
import time
from pathlib import Path

from fedaggregator import __main__ as program
from fedaggregator.clock import SteadyClock

FLAG = Path(os.environ["AHEAD"])


class Ahead(SteadyClock):
    """By an hour."""

    def __call__(self) -> float:
        return super().__call__() + 3600 * FLAG.exists()


program.steady_clock = lambda: Ahead(time.time() - time.monotonic())
sys.exit(program.main())
