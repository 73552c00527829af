"""What a site that withdraws has in a job, from commits of real rounds: before it came, since then, and after a rollback."""

import pytest

from fedapi.wire.job import RollbackTo
from fedapi.wire.roster import RosterEntry
from fedcli.withdraw import report, rollback_id
from fedcore.rounds.events import Ticked
from fedcore.rounds.state import State
from fedstore.memory import MemoryStore
from fedstore.withdrawal import withdrawal
from tests.property.fedaggregator.simulation import Hub, job

A, B = RosterEntry(name="a"), RosterEntry(name="b")


def round_of(hub, *clients):
    round_ = hub.state.round
    hub.hear(*clients)
    for client in clients:
        hub.deliver(client)
    assert hub.state.tip.round == round_


@pytest.fixture
def hub():
    """Two rounds of a alone, then two of a and b."""
    made = Hub(job("a", rounds=9))
    made.start()
    round_of(made, "a")
    round_of(made, "a")
    made.with_config(roster=(A, B))
    made.hear("a", "b")
    while made.state.tip.round < 4:
        if made.state.current and not made.state.current.selected("b"):
            round_of(made, "a")
        else:
            round_of(made, "a", "b")
    return made


def test_the_rounds_before_its_first_update_stay(hub):
    found = withdrawal(hub.store, hub.state.layout, "b")
    first = found.updates[0].round
    assert first > 2
    assert found.back_to == first - 1
    assert found.undone == tuple(range(first, hub.state.tip.round + 1))
    assert found.others == {"a": len(found.undone)}
    assert found.kept
    by_round = {commit.round: commit for commit in hub.commits()}
    for each in found.updates:
        said = next(p for p in by_round[each.round].participants if p.client == "b")
        assert (each.payloads, each.samples, each.counts) == (said.payloads, said.samples, True)


def test_a_site_that_never_took_part_undoes_nothing(hub):
    found = withdrawal(hub.store, hub.state.layout, "stranger")
    assert (found.updates, found.undone, found.back_to, found.others) == ((), (), None, {})
    assert "nothing has to be undone" in report(found, {})[0]
    assert found.sites == {"a", "b"}


@pytest.mark.parametrize("length", [1, 46, 47, 48, 50, 63])
def test_every_withdrawal_has_an_id_of_its_own(length):
    """However long the names are: with the id of an earlier one a rollback would be taken for done."""
    sites = [f"{'x' * (length - 1)}{last}" for last in "ab"]
    ids = [rollback_id(site, round_) for site in sites for round_ in (1, 11, 99999)]
    assert len(set(ids)) == len(ids)
    assert all(len(each) <= 63 for each in ids)
    assert ids == [rollback_id(site, round_) for site in sites for round_ in (1, 11, 99999)]


def test_after_the_rollback_its_updates_are_named_and_in_no_model(hub):
    before = withdrawal(hub.store, hub.state.layout, "b")
    hub.with_config(roster=(A,), rollback_to=RollbackTo(round=before.back_to, id="withdraw-b-4"))
    hub.handle(Ticked(hub.now))
    assert hub.state.tip.rolled_back_to == before.back_to
    found = withdrawal(hub.store, hub.state.layout, "b")
    assert [each.round for each in found.updates] == [each.round for each in before.updates]
    assert not any(each.counts for each in found.updates)
    assert (found.back_to, found.undone) == (None, ())
    assert "none of them is in the last model" in report(found, {})[-1]


def test_the_report_says_what_to_do(hub):
    found = withdrawal(hub.store, hub.state.layout, "b")
    lines = report(found, {(each.order_round, each.attempt): 7 for each in found.updates})
    assert lines[0] == f"b has {len(found.updates)} updates in committed rounds:"
    assert "entry 7 of the ledger" in lines[1]
    assert f'"rollbackTo": {{"round": {found.back_to}, "id": "withdraw-b-4"}}' in lines[-1]


def test_a_job_that_has_ended_is_not_told_to_go_back(hub):
    found = withdrawal(hub.store, hub.state.layout, "b")
    assert "the job has ended, and goes back no more: a new job" in report(found, {}, ended=True)[-1]
    assert "rollbackTo" not in "\n".join(report(found, {}, ended=True))


def test_a_model_that_is_not_kept_cannot_be_gone_back_to(hub):
    found = withdrawal(hub.store, hub.state.layout, "b")
    model = hub.commits()[found.back_to].model
    hub.store.delete(model.key)
    gone = withdrawal(hub.store, hub.state.layout, "b")
    assert not gone.kept
    assert "is not kept" in report(gone, {})[-1]


def test_a_new_job_has_nothing():
    assert withdrawal(MemoryStore(), State(job("a"), 0).layout, "a").updates == ()
