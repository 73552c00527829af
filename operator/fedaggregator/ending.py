"""How a process of this package ends: an exit code of fedapi.outcome, and one line of why. Called by the entry points."""

import contextlib
import logging
import sys
from pathlib import Path

from fedapi.outcome import Exit

log = logging.getLogger("fedaggregator")


def ended(code: Exit, message: str, termination_log: Path | None) -> int:
    """Tells it to the log, to whoever looks at the terminal, and to the kubelet."""
    log.error("ended", extra={"fields": {"code": int(code), "reason": message}})
    sys.stderr.write(f"{message}\n")
    if termination_log is not None:
        with contextlib.suppress(OSError):
            termination_log.write_text(message[:2000])
    return code
