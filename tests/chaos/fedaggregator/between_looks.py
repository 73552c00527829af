"""Runs the aggregator as it is between two looks at HEAD, however slow the machine: that another took over it learns
from its commit."""

import sys

from fedaggregator.__main__ import main
from fedaggregator.engine import engine

assert engine._HEAD_CHECK_S > 0
engine._HEAD_CHECK_S = 1e9
sys.exit(main())
