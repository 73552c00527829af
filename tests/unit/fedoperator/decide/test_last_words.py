"""What the status tells of a process that has ended, out of the message that it has left."""

import pytest

from fedoperator.decide.view import last_words

NOTE = "the process was ended inside the task's train(), by a signal or by a library's exit "
STACK = 'Current thread 0x01 (most recent call first):\n  File "lab.py", line 3 in train\n  File "session.py", line 9 in _train\n'
TOLD = (
    'Current thread 0x01 (most recent call first): File "lab.py", line 3 in train File "session.py", line 9 in _train'
)
MODULES = "\nExtension modules: numpy._core._multiarray_umath, torch._C (total: 20)\n"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one line\n", "one line"),
        ("INFO a log\nINFO its last line\n", "INFO its last line"),
        (NOTE, NOTE.strip()),
        (
            f"{NOTE}Fatal Python error: Segmentation fault\n\n{STACK}{MODULES}",
            f"{NOTE}Fatal Python error: Segmentation fault {TOLD}",
        ),
        (f"{NOTE}Fatal Python error: Aborted\n\n{STACK}", f"{NOTE}Fatal Python error: Aborted {TOLD}"),
        (f"INFO a log\nFatal Python error: Aborted\n\n{STACK}{MODULES}", f"Fatal Python error: Aborted {TOLD}"),
        (f"{STACK[20:]}{MODULES}", TOLD[20:]),
        ("Extension modules: torch._C\n", ""),
        ('{"level": "ERROR", "message": "no model"}\n', "no model"),
        ('{"message": "it failed", "error": "Traceback\\n  File\\nKeyError: 1"}', "it failed: KeyError: 1"),
        ('{"message": 1}', '{"message": 1}'),
        ('{"message": "cut of', '{"message": "cut of'),
    ],
)
def test_last_words(message, said):
    assert last_words(message) == said
