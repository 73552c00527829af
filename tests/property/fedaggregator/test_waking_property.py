"""Whatever happens: a site that is held gets its answer as soon as it has one, and nobody else is woken."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fedaggregator.engine.polls import Polls
from fedapi.wire.job import JobConfig
from fedapi.wire.message import ObjectRef
from fedapi.wire.roster import RosterEntry
from fedapi.wire.site import EvaluationReport
from fedapi.wire.training import TrainingSettings
from fedapi.wire.update import Payload, UpdateManifest
from fedcore.rounds import assignment, machine
from fedcore.rounds.compatibility import Speech
from fedcore.rounds.events import (
    Accepted,
    Configured,
    Evaluated,
    Event,
    Folded,
    FoldFailed,
    Heard,
    InitialModelFound,
    Refused,
    SiteFailed,
    Ticked,
    UpdatesDamaged,
)
from fedcore.rounds.state import State

SITES = ("a", "b", "c")
DOING = (None, (1, 1), (1, 2), (2, 1), (2, 2))
A = "a" * 64

words = st.tuples(
    st.sampled_from(
        ["hear", "accept", "fail", "refuse", "evaluate", "tick", "deadline", "fold", "nan", "damage", "remove", "pause", "add", "old", "warn", "strict"]
    ),
    st.sampled_from(SITES),
)  # fmt: skip


def begun(lifetime: str, quorum: int) -> State:
    roster = tuple(RosterEntry(name=site) for site in SITES)
    config = JobConfig(
        namespace="ns", name="job", uid="uid", roster=roster, rounds=2, deadline_s=100.0, max_failures=2,
        lifetime=lifetime, quorum=quorum, grace_after_quorum_s=5.0,
    )  # fmt: skip
    model = ObjectRef(key=f"models/{A}", sha256=A, size=10)
    return machine.step(State(config, epoch=1), InitialModelFound(1.0, model))[0]


def reference(state: State, site: str) -> ObjectRef:
    return ObjectRef(key=state.layout.update(site, state.round, A), sha256=A, size=10)


def manifest(state: State, site: str) -> UpdateManifest:
    attempt = state.current.plan.attempt if state.current else 1
    return UpdateManifest(
        job_uid="uid", round=state.round, attempt=attempt, client=site, base_sha256=A, payloads={"update": Payload(object=reference(state, site))},
        samples=1, training_s=1.0, nonce=site * 16,
    )  # fmt: skip


def rostered(state: State, site: str, word: str) -> JobConfig:
    others = tuple(entry for entry in state.config.roster if entry.name != site)
    entry = {
        "remove": (),
        "pause": (RosterEntry(name=site, eligible=False, reason="Paused"),),
        "add": (RosterEntry(name=site),),
    }[word]
    return state.config.model_copy(update={"roster": others + entry})


def event(state: State, word: str, site: str, now: float) -> Event:
    round_, attempt = state.round, state.current.plan.attempt if state.current else 1
    report = EvaluationReport(
        job_uid="uid", round=max(0, round_ - 1), client=site, model_sha256=A, samples=1, metrics={"loss": 1.0}
    )
    events: dict[str, Event] = {
        "hear": Heard(now, (site,)),
        "old": Heard(now, (site,), {site: Speech()}),
        "accept": Accepted(now, manifest(state, site)),
        "fail": SiteFailed(now, site, round_, attempt, "TaskFailed", "no"),
        "refuse": Refused(now, site, "Malformed", "no"),
        "evaluate": Evaluated(now, report),
        "fold": Folded(now, round_, attempt, ObjectRef(key=f"models/{round_}", sha256=A, size=10)),
        "nan": FoldFailed(now, round_, attempt, "ModelNotFinite", "no"),
        "damage": UpdatesDamaged(now, round_, attempt, {reference(state, site).key: "gone"}),
    }
    if word in ("remove", "pause", "add"):
        return Configured(now, rostered(state, site, word))
    if word in ("warn", "strict"):
        training = TrainingSettings(determinism=word.capitalize())
        return Configured(now, state.config.model_copy(update={"training": training}))
    return events.get(word, Ticked(now))


async def held(state: State) -> tuple[Polls, dict[tuple[str, tuple[int, int] | None], asyncio.Task[None]]]:
    """Every site that is told to wait, whatever it works on."""
    polls, gone = Polls(), asyncio.get_running_loop().create_future()

    def waits(site: str, doing: tuple[int, int] | None) -> Callable[[State], bool]:
        return lambda state: assignment.kind(state, site, doing) == "Wait"

    waiting = {
        (site, doing): asyncio.create_task(polls.hold(site, waits(site, doing), gone, 600.0))
        for site in SITES
        for doing in DOING
        if assignment.kind(state, site, doing) == "Wait"
    }
    await asyncio.sleep(0)
    return polls, waiting


async def run(state: State, script: list[tuple[str, str]]) -> None:
    now = 1.0
    for word, site in script:
        now += 101.0 if word == "deadline" else 1.0
        after, _ = machine.step(state, event(state, word, site, now))
        polls, waiting = await held(state)
        polls.shown(state, after)
        for _ in range(3):
            await asyncio.sleep(0)
        answered = {key for key, poll in waiting.items() if poll.done()}
        assert answered == {key for key in waiting if assignment.kind(after, *key) != "Wait"}, word
        polls.end_all()
        await asyncio.gather(*waiting.values())
        state = after


@settings(max_examples=300)
@given(st.lists(words, max_size=40), st.sampled_from(["Job", "Round"]), st.integers(1, 3))
def test_who_is_held_is_answered_when_the_answer_changes(script, lifetime, quorum):
    hello = [("hear", site) for site in SITES]
    asyncio.run(run(begun(lifetime, quorum), [*hello, *script]))


def test_an_update_wakes_nobody_else():
    async def main() -> None:
        state = begun("Job", 3)
        for site in SITES:
            state, _ = machine.step(state, Heard(2.0, (site,)))
        state, _ = machine.step(state, Accepted(3.0, manifest(state, "a")))
        after, _ = machine.step(state, Accepted(4.0, manifest(state, "b")))
        assert assignment.concerned(state, after) == frozenset()
        assert assignment.concerned(after, replace(after, sites={})) == frozenset()

    asyncio.run(main())
