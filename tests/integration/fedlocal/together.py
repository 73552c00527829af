"""Many jobs by `fedloom run`'s own code in one process: they share its fork server, whose start costs more than most jobs.

Each has an aggregator and trainers of its own. Used by tests of tables of jobs, of `fedloom run` and of a cluster.
"""

import asyncio
import contextlib
import os
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedlocal import runner
from fedlocal.intake import Request
from fedlocal.manifests import load
from fedlocal.processes import launcher
from fedlocal.statefolder import StateFolder

AT_ONCE = 4
PATIENCE_S = 540.0  # ends a hang before the test's own timeout does, which leaves processes behind


async def _run_all(folder, names, trainers):
    manifests, at_once = load(folder), asyncio.Semaphore(AT_ONCE)

    async def one(request):
        async with at_once:
            return await runner.run(request, lambda _job, _events: None)

    requests = {name: Request(manifests, manifests.job(name)[0], folder / "state", trainers=trainers) for name in names}
    shared = launcher()
    if hasattr(shared, "warm"):
        shared.warm(dict(os.environ), folder / "fork-server.log")
    kept = SimpleNamespace(start=shared.start, close=lambda: asyncio.sleep(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "launcher", lambda: kept)
        patch.setattr(runner, "_signals", lambda _stop: contextlib.nullcontext())
        try:
            endings = await asyncio.wait_for(asyncio.gather(*map(one, requests.values())), PATIENCE_S)
        finally:
            await shared.close()
    return {name: (ending, requests[name].state) for name, ending in zip(requests, endings, strict=True)}


def run_all(
    folder: Path, names: Collection[str], trainers: str = "shared"
) -> dict[str, tuple[runner.Ending, StateFolder]]:
    """Ending and state folder of each job of the folder's manifests."""
    return asyncio.run(_run_all(folder, names, trainers))
