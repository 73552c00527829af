"""Sites that share trainers, with trainers and an aggregator that are scripted here."""

import asyncio
import json
from dataclasses import dataclass, field

import pytest

from fedapi import names
from fedapi.outcome import Exit
from fedapi.wire.site import Assignment
from fedlocal.processes import Command
from fedlocal.sharing import ENDED, SharedSite, can_share
from fedlocal.trainer_pool import SOCKET, TrainerPool
from fedtrainer.errors import RefusedError

DONE = Assignment(kind="Done")
DROP = Assignment(kind="Drop")


@dataclass
class Fake:
    """A trainer in this process: answers each order with the next of its words; an int is the code that it ends with."""

    words: list
    folder: object
    orders: list = field(default_factory=list)

    def __post_init__(self):
        self.code = asyncio.get_running_loop().create_future()
        self.ordered = asyncio.Event()
        self.signals = []

    async def live(self, number):
        reader, writer = await asyncio.open_unix_connection(str(self.folder / SOCKET))
        try:
            writer.write(json.dumps({"number": number}).encode() + b"\n")
            while line := await reader.readline():
                self.orders.append(json.loads(line))
                self.ordered.set()
                said = self.words.pop(0)
                if isinstance(said, int):
                    self.end(said)
                    return
                if said is not None:  # else it is at work until it is told to end
                    writer.write(json.dumps({"finished": False, "worn": False} | said).encode() + b"\n")
        finally:
            writer.close()

    def end(self, code):
        if not self.code.done():
            self.code.set_result(code)

    async def wait(self):
        return await self.code

    def terminate(self):
        self.signals.append("TERM")
        self.end(ENDED)
        self.task.cancel()

    def kill(self):
        self.end(-9)
        self.task.cancel()


@dataclass
class FakeLauncher:
    """Gives out scripted trainers; None: one that ends before it says a word."""

    folder: object
    scripts: list
    started: list = field(default_factory=list)
    started_one: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, command):
        words = self.scripts.pop(0)
        fake = Fake(words or [], self.folder)
        fake.task = asyncio.create_task(fake.live(int(command.arguments[0])) if words is not None else asyncio.sleep(0))
        if words is None:
            fake.end(3)
        self.started.append(fake)
        self.started_one.set()
        return fake

    async def close(self):
        pass


@dataclass
class FakeQuestions:
    """Answers in their order; then waits for ever."""

    answers: list
    patience_s: float = 0.0

    async def next(self, wait_s):
        await asyncio.sleep(0)
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer, answer.model_dump_json()

    def close(self):
        pass


def with_pool(tmp_path, scripts, work, most=1):
    async def run():
        launcher = FakeLauncher(tmp_path, scripts)
        pool = TrainerPool(launcher, tmp_path, tmp_path / "trainers.log", {}, most)
        await pool.open()
        try:
            return await asyncio.wait_for(work(pool, launcher), 20)
        finally:
            await pool.close()
            await asyncio.gather(*(fake.task for fake in launcher.started), return_exceptions=True)

    return asyncio.run(run())


def site(pool, tmp_path, name, *answers, **env):
    env = {names.ENV_CLIENT: name, names.ENV_TERMINATION_LOG: str(tmp_path / f"{name}.end"), **env}
    return SharedSite(
        Command("fedtrainer", ("train",), env, tmp_path, tmp_path / f"{name}.log"), FakeQuestions([*answers]), pool
    )


def test_a_site_asks_until_its_trainer_says_that_it_has_finished(tmp_path):
    async def work(pool, launcher):
        code = await site(pool, tmp_path, "a", DROP, Assignment(kind="Wait"), DONE).wait()
        return code, [order["env"][names.ENV_CLIENT] for order in launcher.started[0].orders]

    assert with_pool(tmp_path, [[{"finished": True}]], work) == (0, ["a"])


def test_a_site_whose_trainer_ends_has_its_code_and_the_next_site_a_new_trainer(tmp_path):
    async def work(pool, launcher):
        first = await site(pool, tmp_path, "a", DONE).wait()
        second = await site(pool, tmp_path, "b", DONE).wait()
        return first, second, len(launcher.started)

    assert with_pool(tmp_path, [[-11], [{"finished": True}]], work) == (-11, 0, 2)


def test_a_trainer_has_ended_even_if_a_child_that_the_task_left_holds_its_connection(tmp_path):
    async def work(pool, launcher):
        first = site(pool, tmp_path, "a", DONE)
        await launcher.started_one.wait()
        await launcher.started[0].ordered.wait()
        launcher.started[0].end(-9)  # its end of the connection stays open
        return await first.wait(), await site(pool, tmp_path, "b", DONE).wait()

    assert with_pool(tmp_path, [[None], [{"finished": True}]], work) == (-9, 0)


def test_a_worn_trainer_serves_nobody_else(tmp_path):
    async def work(pool, launcher):
        codes = [await site(pool, tmp_path, name, DONE).wait() for name in "abc"]
        return codes, [len(fake.orders) for fake in launcher.started]

    scripts = [[{"finished": True}, {"finished": True, "worn": True}], [{"finished": True}]]
    assert with_pool(tmp_path, scripts, work) == ([0, 0, 0], [2, 1])


def test_a_trainer_that_ended_while_it_was_idle_is_replaced_unnoticed(tmp_path):
    async def work(pool, launcher):
        first = await site(pool, tmp_path, "a", DONE).wait()
        launcher.started[0].end(-9)
        await asyncio.sleep(0)
        return first, await site(pool, tmp_path, "b", DONE).wait()

    assert with_pool(tmp_path, [[{"finished": True}], [{"finished": True}]], work) == (0, 0)


def test_no_more_trainers_than_allowed_and_the_longest_waiting_site_first(tmp_path):
    async def work(pool, launcher):
        sites = [site(pool, tmp_path, str(number), DONE) for number in range(20)]
        codes = [await each.wait() for each in sites]
        served = [order["env"][names.ENV_CLIENT] for order in launcher.started[0].orders]
        return codes, served, len(launcher.started)

    codes, served, started = with_pool(tmp_path, [[{"finished": True}] * 20], work)
    assert (codes, served, started) == ([0] * 20, [str(number) for number in range(20)], 1)


def test_a_trainer_that_cannot_start_is_told_in_the_sites_own_log(tmp_path):
    async def work(pool, launcher):
        return await site(pool, tmp_path, "a", DONE).wait()

    assert with_pool(tmp_path, [None], work) == 3
    assert "trainers.log" in (tmp_path / "a.end").read_text()


def test_a_site_that_the_aggregator_refuses_ends_as_its_own_process_would(tmp_path):
    async def work(pool, launcher):
        return await site(pool, tmp_path, "a", RefusedError("unknown site a")).wait(), launcher.started

    assert with_pool(tmp_path, [], work) == (Exit.REFUSED, [])
    assert (tmp_path / "a.end").read_text() == "unknown site a\n"
    line = json.loads((tmp_path / "a.log").read_text())
    assert (line["level"], line["message"]) == ("ERROR", f"SiteRefused (exit {Exit.REFUSED}): unknown site a")


def test_a_wrong_setting_is_named(tmp_path):
    async def work(pool, launcher):
        return await site(pool, tmp_path, "a", DONE, FEDLOOM_POLL_S="soon").wait()

    assert with_pool(tmp_path, [], work) == Exit.BAD_SETTINGS
    assert "FEDLOOM_POLL_S: is 'soon'" in (tmp_path / "a.end").read_text()


def test_a_waiting_site_ends_at_once_and_one_with_an_order_through_its_trainer(tmp_path):
    async def work(pool, launcher):
        waiting, at_work = site(pool, tmp_path, "a"), site(pool, tmp_path, "b", DONE)
        await launcher.started_one.wait()
        await launcher.started[0].ordered.wait()
        waiting.terminate()
        at_work.terminate()
        return await waiting.wait(), await at_work.wait(), launcher.started[0].signals

    assert with_pool(tmp_path, [[None]], work) == (ENDED, ENDED, ["TERM"])


def test_with_a_job_per_round_a_site_ends_when_there_is_nothing_left_for_it(tmp_path):
    async def work(pool, launcher):
        answers = [Assignment(kind="Wait"), Assignment(kind="Wait")]
        return await site(pool, tmp_path, "a", *answers, **{names.ENV_LIFETIME: "Round"}).wait()

    assert with_pool(tmp_path, [[{"finished": True}]], work) == 0


@pytest.mark.parametrize(
    ("env", "shares"),
    [
        ({}, True),
        ({names.ENV_ACCELERATOR: "GPU"}, True),
        ({names.ENV_ACCELERATOR: "TPU"}, False),
        ({names.ENV_RING_WORKERS: "2"}, False),
        ({names.ENV_RING_SLOTS: "2"}, False),
        ({"OMP_WAIT_POLICY": "a value that the runner does not have"}, False),
    ],
)
def test_who_can_share(monkeypatch, env, shares):
    monkeypatch.setattr("os.environ", {})
    assert can_share(env) is shares


def test_an_order_that_waited_long_for_a_trainer_is_asked_for_anew(tmp_path, monkeypatch):
    async def work(pool, launcher):
        return await site(pool, tmp_path, "a", Assignment(kind="Evaluate"), DONE).wait(), launcher.started[0].orders

    monkeypatch.setattr("fedlocal.sharing.FRESH_S", -1.0)
    code, orders = with_pool(tmp_path, [[{"finished": True}]], work)
    assert (code, [json.loads(order["answer"])["kind"] for order in orders]) == (0, ["Done"])


def test_with_a_job_per_round_a_site_ends_also_where_that_there_is_nothing_waited_long_for_a_trainer(
    tmp_path, monkeypatch
):
    async def work(pool, launcher):
        nothing = [Assignment(kind="Wait")] * 3  # at the start, after a poll, and asked anew
        code = await site(pool, tmp_path, "a", *nothing, **{names.ENV_LIFETIME: "Round"}).wait()
        return code, [json.loads(order["answer"])["kind"] for order in launcher.started[0].orders]

    monkeypatch.setattr("fedlocal.sharing.FRESH_S", -1.0)
    assert with_pool(tmp_path, [[{"finished": True}]], work) == (0, ["Wait"])


def test_an_order_that_is_void_when_a_trainer_comes_ends_nothing(tmp_path, monkeypatch):
    async def work(pool, launcher):
        evaluate = Assignment(kind="Evaluate")
        answers = [evaluate, DROP, evaluate, evaluate]  # the order, asked anew: void; the next one, asked anew
        code = await site(pool, tmp_path, "a", *answers, **{names.ENV_LIFETIME: "Round"}).wait()
        return code, [json.loads(order["answer"])["kind"] for order in launcher.started[0].orders]

    monkeypatch.setattr("fedlocal.sharing.FRESH_S", -1.0)
    assert with_pool(tmp_path, [[{"finished": True}]], work) == (0, ["Evaluate"])


@pytest.mark.parametrize("connected", [False, True])
def test_nothing_is_kept_of_a_trainer_that_never_had_an_order(tmp_path, connected):
    """It ended before it said a word, or its site was told to end while it started."""

    async def work(pool, launcher):
        await site(pool, tmp_path, "a", DONE).wait()
        launcher.started_one.clear()
        ending = site(pool, tmp_path, "b", DONE)
        await launcher.started_one.wait()
        (link,) = pool._expected.values()
        link.add_done_callback(lambda _: ending.kill()) if connected else ending.kill()
        return await ending.wait(), pool._expected, launcher.started[1].code.done()

    assert with_pool(tmp_path, [None, []], work) == (ENDED, {}, True)
