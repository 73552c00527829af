"""What is remembered of writes that were refused, and when they are tried again."""

from fedoperator.decide.decision import Key, Refused
from fedoperator.errors import ForeignError, RefusedError
from fedoperator.refusals import FIRST_RETRY_S, FOREIGN_RETRY_S, FREE_CONTESTS, Refusals


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_a_refusal_is_retried_slowly_and_shown_until_it_is_over():
    clock = Clock()
    refusals, key = Refusals(clock), Key("Deployment", "j-aggregator")
    job = {"kind": "FederatedJob", "metadata": {"uid": "u"}}
    assert refusals.known("u") == ()
    error = RefusedError("spec.replicas: must be small", 422)
    assert [refusals.refused(job, key, error) for _ in range(3)] == [
        FIRST_RETRY_S,
        2 * FIRST_RETRY_S,
        4 * FIRST_RETRY_S,
    ]
    assert refusals.wait_s(job, key) == 4 * FIRST_RETRY_S
    clock.now += 4 * FIRST_RETRY_S
    assert refusals.wait_s(job, key) == 0
    assert refusals.known("u") == (Refused(key, "Deployment j-aggregator was refused: spec.replicas: must be small"),)
    refusals.keep("u", {key})
    assert refusals.known("u")
    refusals.cleared(job, key)
    assert refusals.known("u") == ()


def test_what_is_wanted_no_longer_is_not_refused_any_more():
    refusals, key = Refusals(Clock()), Key("Job", "j-site-a-1")
    refusals.refused({"metadata": {"uid": "u"}}, key, RefusedError("no", 403))
    refusals.keep("u", {Key("Job", "j-site-a-2")})
    assert refusals.known("u") == ()


def test_a_name_of_somebody_else_is_looked_at_again_at_a_steady_pace():
    clock = Clock()
    refusals, key, job = Refusals(clock), Key("Role", "r"), {"metadata": {"uid": "u"}}
    assert [refusals.foreign(job, key, ForeignError("theirs")) for _ in range(9)] == [FOREIGN_RETRY_S] * 9
    assert refusals.known("u") == (Refused(key, "theirs", foreign=True),)
    assert refusals.foreign_name(job, key)


def test_another_controller_is_fought_ever_more_slowly():
    clock = Clock()
    refusals, key, job, pauses = Refusals(clock), Key("Service", "s"), {"metadata": {"uid": "u"}}, []
    for _ in range(20):
        pauses.append(refusals.contest_wait_s(job, key))
        clock.now += pauses[-1]
        refusals.contested(job, key)
    assert pauses[:FREE_CONTESTS] == [0] * FREE_CONTESTS
    assert pauses[FREE_CONTESTS] == FIRST_RETRY_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == 1800
