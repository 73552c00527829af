"""What a pass does not decide again: the same objects, until they are due."""

from fedlocal.seen import Parsed, Seen
from fedoperator.decide.decision import Key

KEY = Key("Job", "a")


def seen(times, after=None):
    """A Seen whose clock reads `times`, and a function that asks it and tells whether it decided."""
    clock, decided = iter(times), []
    table = Seen(now=lambda: next(clock))

    def ask(*inputs):
        before = len(decided)
        due = table.unless_same(KEY, inputs, lambda: decided.append(1) or after)
        return len(decided) > before, due

    return ask


def test_the_same_objects_are_decided_on_once():
    ask, body = seen([0.0, 1.0, 2.0]), {}
    assert [ask(body), ask(body), ask(body)] == [(True, None), (False, None), (False, None)]


def test_an_equal_object_is_another_one_and_so_is_one_more_or_one_less():
    ask, body, pod = seen([0.0] * 4), {}, {}
    assert [ask(body, pod)[0], ask(body)[0], ask(body, pod)[0], ask({}, pod)[0]] == [True] * 4


def test_what_is_due_is_decided_again_and_the_rest_of_the_wait_is_told():
    ask, body = seen([0.0, 3.0, 5.0], after=5.0), {}
    assert [ask(body), ask(body), ask(body)] == [(True, 5.0), (False, 2.0), (True, 5.0)]


def test_a_client_is_parsed_again_only_when_it_was_replaced():
    parsed = Parsed()
    body = {
        "metadata": {"name": "north", "namespace": "default", "uid": "u", "generation": 1},
        "spec": {"provider": "OnPremises"},
    }
    first = parsed.of(body)
    assert parsed.of(body) is first
    assert parsed.of({**body, "spec": {"provider": "AWS"}}).spec.provider == "AWS"
