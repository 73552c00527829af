"""How a launcher reads the end of a rank: its code, and the line that it left."""

import queue
import sys

import pytest

from fedapi.outcome import Exit
from fedtrainer.launch.ranks import Ranks
from fedtrainer.ring.slot import Slot
from tests.waiting import PATIENCE_S

LEFT = "import os, signal; from fedtrainer import termination; termination.note('inside train() ');"

OPEN = f"from fedtrainer import termination; termination.tell_crashes(); {LEFT}"
CLOSED = (
    "from fedtrainer import termination; termination.tell_crashes(); import os, tempfile; os.closerange(3, 99);"
    f"own = tempfile.TemporaryFile(); own.write(b'kept'); own.flush(); {LEFT} assert own.seek(0, 2) == 4;"
)


@pytest.mark.parametrize(
    ("program", "code", "line"),
    [
        ("pass", Exit.OK, "rank 1 of worker 0 ended with exit code 0"),
        (f"{LEFT} termination.note('')", Exit.OK, "rank 1 of worker 0 ended with exit code 0"),
        (f"{OPEN} termination.note('')", Exit.OK, "rank 1 of worker 0 ended with exit code 0"),
        (f"{OPEN} termination.note('inside data() '); os._exit(7)", 7, "inside data()"),
        (f"{OPEN} os.abort()", 134, "signal 6: inside train() Fatal Python error: Aborted Stack"),
        (f"{CLOSED} os._exit(7)", 7, "inside train()"),
        (f"{LEFT} os._exit(0)", Exit.TASK_FAILED, "inside train()"),
        (f"{LEFT} os._exit(7)", 7, "inside train()"),
        (f"{LEFT} os.kill(os.getpid(), signal.SIGKILL)", 137, "signal 9: inside train()"),
        (
            f"{LEFT} termination.tell_crashes(); os.abort()",
            134,
            "signal 6: inside train() Fatal Python error: Aborted Stack (most recent call first)",
        ),
    ],
)
def test_a_rank_that_is_ended_inside_the_tasks_code_has_not_ended_well(program, code, line):
    ends = queue.Queue()
    with Ranks((sys.executable, "-c", program), ends.put) as ranks:
        ranks.start(Slot(rank=1, size=2), {})
        ended = ends.get(timeout=PATIENCE_S)
    assert (ended.code, ended.line[: len(line)]) == (code, line)
