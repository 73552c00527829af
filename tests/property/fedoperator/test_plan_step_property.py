"""A life with training.lifetime Round: whatever is planned and whenever the operator dies, one Job per site and step."""

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from fedapi import names
from fedoperator.decide.view import JobView
from tests.property.fedoperator.fake_api import FakeApi, KilledError
from tests.unit.fedoperator import samples as s

SITES = ("a", "b", "c")
STEPS = st.tuples(
    st.sets(st.sampled_from(SITES), min_size=1),  # selected
    st.dictionaries(st.sampled_from(SITES), st.sampled_from(["complete", "failed"])),  # how their Jobs end, if they do
    st.lists(st.integers(0, 6), max_size=3),  # writes before each death of the operator
    st.booleans(),  # suspended and resumed on the way
)


def _trainers(api: FakeApi) -> list[JobView]:
    jobs = [JobView.of(body) for key, body in api.children.items() if key.kind == "Job"]
    return [job for job in jobs if job.role == names.ROLE_TRAINER]


def _publish(api: FakeApi, plan: s.Json, *, suspend: bool = False) -> None:
    old = api.job.status.model_dump(by_alias=True, exclude_none=True)
    told = {key: value for key, value in plan.items() if key != "startTime"}
    api.job = s.job(old | told, training={"lifetime": "Round"}, suspend=suspend)


def _rests(api: FakeApi, deaths: list[int]) -> None:
    for budget in [*deaths, *[10**9] * 8]:
        assert not api.doubled()
        api.budget = budget
        with contextlib.suppress(KilledError):
            if api.operator_pass() == 0:
                return
    raise AssertionError("never at rest")


@settings(max_examples=25)
@given(st.lists(STEPS, min_size=1, max_size=5))
def test_one_job_per_site_and_step(steps):
    api = FakeApi(s.job(training={"lifetime": "Round"}), {n: s.site(n) for n in SITES}, s.SETTINGS, s.NOW)
    _rests(api, [])
    assert _trainers(api) == []
    dead: set[str] = set()
    for number, (selected, ends, deaths, paused) in enumerate(steps, 1):
        step = f"{number}-evaluate" if number == len(steps) else f"{number}-1"
        plan = s.planned(step, *sorted(selected), **dict.fromkeys(selected, "Training"))
        _publish(api, plan)
        _rests(api, deaths)
        if paused:
            for suspend in (True, False):
                _publish(api, plan, suspend=suspend)
                _rests(api, deaths)
                assert all(job.suspended is suspend for job in _trainers(api) if not job.finished)
        going = {job.client: job.step for job in _trainers(api) if job.running}
        assert going == dict.fromkeys(selected - dead, step)
        for key, body in api.children.items():
            job = JobView.of(body)
            if key.kind == "Job" and job.running and job.client in ends and job.role == names.ROLE_TRAINER:
                {"complete": s.complete, "failed": s.failed}[ends[job.client]](body)
                dead |= {job.client} if ends[job.client] == "failed" else set()
        _rests(api, [])
        assert {job.client for job in _trainers(api)} == selected | dead
    assert len(api.made) == len(set(api.made)), "a Job that had ended was made again"
