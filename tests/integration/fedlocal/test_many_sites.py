"""Many sites at once: no start is lost, and a run of a hundred sites completes."""

import asyncio
import os

import pytest

from fedlocal.processes import Command, ForkingLauncher, PlainLauncher
from tests.integration.fedlocal.runs import TIMEOUT_S, Lab, finish, job, site
from tests.integration.fedlocal.together import PATIENCE_S

MANY, SITES = 200, 100


async def started_together(tmp_path):
    launcher = ForkingLauncher(PlainLauncher(), frozenset({"calendar"}))
    launcher.warm(dict(os.environ), tmp_path / "fork-server.log")
    env = dict(os.environ) | {"LONG": "x" * 16384}  # all together far more than a socket holds
    commands = [
        Command("calendar", ("2026", str(1 + number % 12)), env, tmp_path, tmp_path / f"{number}.log")
        for number in range(MANY)
    ]
    try:
        processes = await asyncio.gather(*map(launcher.start, commands))
        return [await process.wait() for process in processes], {process.pid for process in processes}
    finally:
        await launcher.close()


def test_no_start_is_lost_among_many_at_once(tmp_path):
    codes, pids = asyncio.run(asyncio.wait_for(started_together(tmp_path), PATIENCE_S))
    assert codes == [0] * MANY
    assert len(pids) == MANY
    assert all("2026" in (tmp_path / f"{number}.log").read_text() for number in range(MANY))


async def given_up(tmp_path):
    """A start that is cancelled before the fork server has answered."""
    launcher = ForkingLauncher(PlainLauncher(), frozenset({"http.server"}))
    launcher.warm(dict(os.environ), tmp_path / "fork-server.log")
    command = Command("http.server", ("0",), dict(os.environ), tmp_path, tmp_path / "1.log")
    start = asyncio.ensure_future(launcher.start(command))
    await asyncio.sleep(0)
    start.cancel()
    try:
        process = await launcher.start(Command("http.server", ("0",), dict(os.environ), tmp_path, tmp_path / "2.log"))
        process.kill()
        return await process.wait()
    finally:
        await launcher.close()


def test_a_start_that_is_given_up_does_not_disturb_the_next(tmp_path):
    assert asyncio.run(asyncio.wait_for(given_up(tmp_path), PATIENCE_S)) == -9


@pytest.mark.timeout(900)
def test_a_hundred_sites_complete(tmp_path):
    lab = Lab.of(tmp_path, job(rounds=1), *(site(f"site-{number:03}") for number in range(SITES)))
    code, output = finish(lab.start(), 6 * TIMEOUT_S - 60)
    assert code == 0, output
    assert [client["rounds"] for client in lab.result()["clients"]] == [1] * SITES
