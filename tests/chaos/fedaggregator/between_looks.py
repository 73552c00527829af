"""Runs the aggregator as it is between two looks at HEAD and two writes of the ledger, however slow the machine: that
another took over it learns from its commit."""

import sys

from fedaggregator.__main__ import main
from fedaggregator.engine import engine, ledger

assert min(engine._HEAD_CHECK_S, ledger._EVERY_S) > 0
engine._HEAD_CHECK_S = ledger._EVERY_S = 1e9
sys.exit(main())
