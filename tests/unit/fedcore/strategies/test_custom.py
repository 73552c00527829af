"""Strategies of installed packages: found by entry point, held to what they were asked for, and told by name when they fail."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from safetensors.numpy import load

from fedapi.crd.strategy import Strategy as Spec
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds.events import FoldFailed
from fedcore.strategies import custom, fedavg, median
from fedcore.strategies.strategy import Strategy, StrategyFailedError
from fedcore.strategies.table import UnknownStrategyError, fewest, rules
from tests.property.fedaggregator.simulation import Hub, job
from tests.unit.fedcore.strategies.aggregated import Round, aggregated

MODULE = """
from fedcore.strategies import fedavg
from fedcore.strategies.strategy import Strategy


def optimize(base, update, memory, parameters):
    return base + base.dtype.type(parameters["rate"]) * update, memory


def broken(base, update, memory, parameters):
    raise RuntimeError("this strategy cannot")


HALVED = Strategy("Halved", fedavg.weights, frozenset({"rate"}), optimize=optimize)
BROKEN = Strategy("Broken", fedavg.weights, optimize=broken)
SEVEN = 7
"""
ENTRIES = """
[fedloom.strategies]
halved = somebodys_strategies:HALVED
broken = somebodys_strategies:BROKEN
seven = somebodys_strategies:SEVEN
gone = somebodys_strategies:GONE
twice = somebodys_strategies:HALVED
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package as pip leaves it."""
    for name, entries in (("somebodys_strategies", ENTRIES), ("other", "[fedloom.strategies]\ntwice = other:X\n")):
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(entries)
    (tmp_path / "somebodys_strategies.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    custom.strategy.cache_clear()
    yield
    custom.strategy.cache_clear()


def asked(name, **parameters) -> StrategySettings:
    return StrategySettings(name=f"custom:{name}", parameters=parameters)


def test_a_job_names_it_with_its_numbers():
    spec = Spec.model_validate({"name": "Custom", "custom": {"name": "halved", "parameters": {"rate": "0.5"}}})
    assert (spec.entry, spec.parameters(), spec.fewest()) == ("custom:halved", {"rate": 0.5}, 1)


def test_rounds_are_made_by_it(installed):
    plain, halved = (run(strategy) for strategy in (StrategySettings(), asked("halved", rate=0.5)))
    first = [load(hub.store.get(hub.commits()[1].model.key))["w"] for hub in (plain, halved)]
    assert np.array_equal(first[1], first[0] * np.float32(0.5))


def run(strategy) -> Hub:
    hub = Hub(job(("a", "b"), rounds=1, strategy=strategy, max_failures=1))
    hub.start()
    hub.hear("a", "b")
    for client in "ab":
        hub.deliver(client)
    return hub


def test_an_error_of_it_is_a_failed_attempt_with_its_words(installed, monkeypatch):
    seen = []
    handle = Hub.handle
    monkeypatch.setattr(Hub, "handle", lambda hub, event: (seen.append(event), handle(hub, event))[1])
    hub = run(asked("broken"))
    (failure,) = [event for event in seen if isinstance(event, FoldFailed)]
    assert failure.reason == "StrategyFailed"
    assert "optimize of strategy Broken failed: RuntimeError('this strategy cannot')" in failure.message
    assert (len(hub.commits()), hub.state.attempt) == (1, 2)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "no package that is installed beside the aggregator has an entry point 'absent'"),
        ("seven", "is a int: make it a Strategy"),
        ("gone", "cannot be loaded: AttributeError"),
        (
            "twice",
            "2 entry points of the group fedloom.strategies are named 'twice' (other:X, somebodys_strategies:HALVED)",
        ),
    ],
)
def test_what_is_no_strategy_is_named_with_the_way_out(installed, name, words):
    with pytest.raises(UnknownStrategyError) as error:
        rules(asked(name))
    assert words in str(error.value)
    assert fewest(asked(name)) == 1


def test_it_is_given_just_the_numbers_that_it_takes(installed):
    with pytest.raises(UnknownStrategyError, match="strategy Halved is given no numbers"):
        rules(asked("halved"))


def short(cohort, parameters):
    return fedavg.weights(cohort, parameters)[1:]


def not_a_number(cohort, parameters):
    return [float("nan")] * len(cohort.updates)


def as_doubles(terms, accumulator, parameters):
    return np.sum([block for _, block in terms], axis=0, dtype=np.float64)


def too_few(base, update, memory, parameters):
    return (base + update)[1:], memory


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"weights": short}, "weights of strategy Own failed: ValueError('1 weights for 2 updates')"),
        ({"weights": not_a_number}, "weights of strategy Own failed: ValueError"),
        ({"combine": as_doubles}, "float64[5] came back, float32[5] was asked for"),
        ({"optimize": too_few}, "float32[4] came back, float32[5] was asked for"),
        ({"least": lambda parameters: 1 / 0}, "least of strategy Own failed: ZeroDivisionError"),
    ],
)
def test_what_it_gives_back_is_looked_at_before_it_is_part_of_a_model(monkeypatch, given, words):
    made = custom.guarded(Strategy("Own", **{"weights": fedavg.weights} | given))
    monkeypatch.setattr(custom, "strategy", lambda _name: made)
    with pytest.raises(StrategyFailedError) as error:
        aggregated("custom:own", np.ones((2, 5), np.float32))
    assert words in str(error.value)


def test_integers_of_it_too(monkeypatch):
    made = custom.guarded(Strategy("Own", fedavg.weights, integers=lambda base, terms: base * 1.0))
    monkeypatch.setattr(custom, "strategy", lambda _name: made)
    with pytest.raises(StrategyFailedError, match="integers of strategy Own failed"):
        Round("custom:own", np.ones((2, 5), np.float32)).made(np.array([1]), updates=np.array([[1], [2]]))


class DamagedError(Exception):
    """The engine's, which fedcore does not know."""


def test_that_an_update_cannot_be_read_is_not_its_failure():
    def terms():
        yield Fraction(1), np.ones(5, np.float32)
        raise DamagedError

    made = custom.guarded(replace(median.STRATEGY, name="Own"))
    round_ = Round("Median", np.ones((2, 5), np.float32))
    from fedcore.strategies.folding import folded
    from fedcore.tensors.arithmetic import Accumulator

    own = replace(round_.rules, strategy=made)
    with pytest.raises(DamagedError):
        folded(own, "F32", np.zeros(5, np.float32), terms(), Accumulator.of("F32", 5), np.zeros((5, 0), np.float32))


def test_a_guarded_strategy_makes_the_bits_of_an_unguarded_one(monkeypatch):
    rows = np.random.default_rng(1).normal(size=(5, 1000)).astype(np.float32)
    monkeypatch.setattr(custom, "strategy", lambda _name: custom.guarded(median.STRATEGY))
    assert aggregated("custom:own", rows).tobytes() == aggregated("Median", rows).tobytes()
    pre = {"name": "NearestNeighbourMixing", "byzantine": 1}
    assert aggregated("custom:own", rows, pre=pre).tobytes() == aggregated("Median", rows, pre=pre).tobytes()
