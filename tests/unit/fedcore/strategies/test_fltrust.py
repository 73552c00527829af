"""FLTrust against the paper's algorithm in float64; and that no round is made without the root client's update."""

import numpy as np
import pytest

from fedapi.wire.roster import RosterEntry
from fedapi.wire.strategy import StrategySettings
from fedcore.rounds import closing, machine
from fedcore.rounds.effects import WriteClose, WriteFailure
from fedcore.rounds.events import Heard, InitialModelFound, SiteFailed, Ticked
from fedcore.rounds.state import Phase, State
from fedcore.strategies.weighing import TooFewUpdatesError
from tests.unit.fedcore.rounds.test_round_rules import A, accept, collecting, config, kinds, ref
from tests.unit.fedcore.strategies.aggregated import Round, aggregated

FLTRUST = StrategySettings(name="FLTrust", root="b")


def paper(updates, root):
    """Cao et al. 2021, algorithm 2, lines 9 to 12."""
    exact = updates.astype(np.float64)
    g0, total, trusts = exact[root], np.zeros(exact.shape[1]), 0.0
    for index, g in enumerate(exact):
        if index != root:
            trust = max(0.0, g @ g0 / (np.linalg.norm(g) * np.linalg.norm(g0)))
            total, trusts = total + trust * np.linalg.norm(g0) / np.linalg.norm(g) * g, trusts + trust
    return total / trusts


@pytest.mark.parametrize("root", [0, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_paper_s_algorithm(seed, root):
    rng = np.random.default_rng(seed)
    updates = ((rng.normal(size=(6, 300)) + 1) * 10.0 ** rng.integers(-2, 3, (6, 1))).astype(np.float32)
    updates[(root + 1) % 6] *= -1
    found = aggregated("FLTrust", updates, root=str(root), samples=[1, 9, 1, 1, 5, 1])
    assert np.allclose(found, paper(updates, root), rtol=1e-4, atol=1e-5 * np.abs(found).max())


def test_the_root_s_own_update_is_no_part_of_the_sum_and_an_opposite_one_none_either():
    updates = np.array([[1.0, 0.0], [5.0, 0.0], [-100.0, 0.0], [0.0, 3.0]], np.float32)
    round_ = Round("FLTrust", updates, root="0")
    assert [float(weight.parameters) for weight in round_.weights] == pytest.approx([0, 0.2, 0, 0])
    assert np.allclose(round_.made()[0], [1.0, 0.0])


def test_where_nobody_is_trusted_nothing_counts():
    for updates in ([[1.0], [-1.0]], [[0.0], [1.0]], [[1.0], [0.0]]):
        assert not any(weight.counts for weight in Round("FLTrust", np.array(updates, np.float32), root="0").weights)


def test_buffers_are_weighed_by_trust_and_not_scaled():
    round_ = Round("FLTrust", np.array([[1.0], [100.0], [2.0], [-1.0]], np.float32), root="0")
    rows = np.array([[9.0], [4.0], [8.0], [99.0]], np.float32)
    assert round_.made(updates=rows, parameters=False)[0].tolist() == [6.0]


def test_one_majority_of_attackers_moves_nothing():
    rng = np.random.default_rng(5)
    direction = rng.normal(size=500)
    honest = direction + 0.3 * rng.normal(size=(4, 500))
    updates = np.concatenate([honest, -50 * honest, -3 * honest]).astype(np.float32)
    found = aggregated("FLTrust", updates, root="0")
    assert found @ direction > 0.8 * direction @ direction


def test_without_the_root_or_with_it_alone_it_is_not_defined():
    with pytest.raises(TooFewUpdatesError, match="strategy FLTrust needs 2 updates with samples, 1 came"):
        Round("FLTrust", np.ones((1, 2), np.float32), root="0")
    with pytest.raises(
        TooFewUpdatesError, match="strategy FLTrust needs the update of its root client 'x', which has none"
    ):
        Round("FLTrust", np.ones((3, 2), np.float32), root="x")


def test_the_root_client_is_selected_in_every_draw():
    values = {"policy": "Random", "per_round": 2, "strategy": FLTRUST}
    drawn = {collecting("abcdefgh", seed=seed, **values).current.plan.selected for seed in range(12)}
    assert len(drawn) > 3
    assert {("b" in names, len(names)) for names in drawn} == {(True, 3)}, "two are drawn, and it is there"


def test_a_round_waits_for_its_root_client():
    gone = config("abcd", strategy=FLTRUST)
    roster = tuple(RosterEntry(name=name, eligible=name != "b") for name in "abcd")
    state, _ = machine.step(State(gone.model_copy(update={"roster": roster}), epoch=1), InitialModelFound(10.0, ref(A)))
    state, _ = machine.step(state, Heard(10.0, tuple("acd")))
    assert (state.phase, state.current) == (Phase.WAITING, None)


def test_no_quorum_closes_a_round_without_its_root_client():
    state = collecting("abcd", strategy=FLTRUST, quorum=2, grace_after_quorum_s=5.0)
    for client in "acd":
        state, effects = accept(state, client)
        assert effects == ()
    assert (state.current.quorum_at, closing.verdict(state.current, 30.0)) == (None, "Open")
    state, effects = machine.step(state, Ticked(111.0))
    assert kinds(effects)[0] is WriteFailure
    assert "the update of the root client 'b' is needed" in effects[0].failure.message


def test_a_root_client_that_fails_fails_the_attempt_at_once():
    state = collecting("abcd", strategy=FLTRUST, quorum=2)
    state, effects = machine.step(state, SiteFailed(20.0, "b", 1, 1, "TaskFailed", "no"))
    assert kinds(effects)[0] is WriteFailure


def test_with_the_root_client_a_quorum_closes_as_ever():
    state = collecting("abcd", strategy=FLTRUST, quorum=2, grace_after_quorum_s=0.0)
    state, _ = accept(state, "a")
    state, effects = accept(state, "b")
    assert kinds(effects)[0] is WriteClose
    assert effects[0].close.accepted == ("a", "b")
