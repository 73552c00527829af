"""How tests wait: for a fact, never for a time. A slow machine takes longer, a fast one does not run past.

Used by all rings. The bound is not what a test expects but where it gives up: far above what any machine takes, so
that it ends a hang and nothing else.
"""

import inspect
import time
from collections.abc import Callable
from typing import Any

_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
PATIENCE_S = 120.0  # also for processes that are to end: `process.wait(PATIENCE_S)`


def until(
    fact: Callable[[], Any],
    timeout_s: float = PATIENCE_S,
    why: Callable[[], object] = str,
    not_yet: tuple[type[Exception], ...] = (),
) -> Any:
    """The first truthy answer of `fact`, whose errors in `not_yet` mean no. `why` tells what else there is to see."""
    end, last = time.monotonic() + timeout_s, None
    while (asked := time.monotonic()) < end:
        try:
            if last := fact():
                return last
        except not_yet as error:
            last = error
        took = time.monotonic() - asked  # asking takes processor time from what is waited for
        time.sleep(min(max(_PAUSE_S, 2 * took), _LONGEST_PAUSE_S))
    raise AssertionError(f"waited {timeout_s:.0f} s in vain for {_words(fact)}; last seen: {last!r} {why()}")


def _words(fact: Callable[[], Any]) -> str:
    try:
        return " ".join(inspect.getsource(fact).split())
    except (OSError, TypeError):
        return repr(fact)
