"""Starts a Python program as a process of its own: the fork server, the hub, and trainers that are not forked.

Called by processes.py and fork_client.py.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


async def started(
    arguments: Sequence[str], env: Mapping[str, str], log: Path, inherited: Sequence[int], cwd: Path | None = None
) -> asyncio.subprocess.Process:
    """`python ARGUMENT…`: it leads a session, reads nothing, appends what it prints to `log`, inherits descriptors."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, *arguments,
            env=env, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=inherited, start_new_session=True,
        )  # fmt: skip
