"""What happened in each round, as rows: of real rounds in a store, of crashes at any write, and of what older versions left."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedapi.wire.compression import Encoding
from fedapi.wire.job import EvaluationSettings
from fedapi.wire.layout import Layout
from fedapi.wire.plan import PlanRecord
from fedapi.wire.roster import RosterEntry
from fedapi.wire.siteevaluation import SiteEvaluationRecord
from fedcli.history import as_csv, took_part
from fedcli.volumerecords import VolumeRecords
from fedcore.rounds.events import SiteEvaluated, Ticked
from fedstore import historyrows
from fedstore.disk import DiskStore
from fedstore.historyrows import RECORDS, Row
from fedstore.memory import MemoryStore
from tests.property.fedaggregator.simulation import UID, Hub, job, update_of
from tests.unit.fedcli import test_volumerecords as volumes

GOLDEN = Path(__file__).parents[2] / "golden" / "fedaggregator"
ROSTER = (RosterEntry(name="a"), RosterEntry(name="b"), RosterEntry(name="x", held_out=True))


def observe(hub: Hub, round_: int, accuracy: float) -> None:
    record = SiteEvaluationRecord(
        job_uid=UID, round=round_, client="x", model_sha256=hub.state.history[round_].model, samples=5,
        metrics={"accuracy": accuracy}, held_out=True, at=hub.now,
    )  # fmt: skip
    hub.handle(SiteEvaluated(hub.now, hub.interpreter.write_site_evaluation(record)))


def deliver(hub: Hub, client: str, round_: int) -> None:
    if hub.state.round == round_:
        hub.deliver(client)


def insist(hub: Hub, what, *args) -> None:
    """As a site does that got no answer: once more, after the restart."""
    before = hub.restarts
    hub.act(what, *args)
    if hub.restarts > before:
        hub.hear("a", "b", "x")
        what(*args)


def ran(hub: Hub, *, in_time: bool = False) -> Hub:
    """Two rounds: the second at its second attempt, in which b is late unless all are in time; x evaluates the first model and, late, the second."""
    insist(hub, hub.start)
    seen = -1
    while not hub.finished():
        insist(hub, hub.hear, "a", "b", "x")
        tip = hub.state.tip
        for client in "ab":
            insist(hub, hub.evaluate, client)
        if tip and tip.round == 0 and seen < 0:
            insist(hub, observe, hub, 0, 0.25)
            seen = 0
        if not in_time and hub.state.round == 2 and hub.state.attempt == 1 and hub.state.current:
            hub.now += 1000.0
            insist(hub, hub.handle, Ticked(hub.now))
        round_ = hub.state.round
        insist(hub, deliver, hub, "a", round_)
        if round_ != 2 or in_time:
            insist(hub, deliver, hub, "b", round_)
        elif hub.state.current and hub.state.current.accepted:
            hub.now += 1000.0
            insist(hub, hub.handle, Ticked(hub.now))
        if hub.state.closing:
            for client in "ab":
                insist(hub, hub.evaluate, client)
            hub.now += 1000.0
            insist(hub, hub.handle, Ticked(hub.now))
    insist(hub, observe, hub, 1, 0.75)
    return hub


def held_out_job(**values) -> Hub:
    values = {"rounds": 2, "roster": ROSTER, "evaluation": EvaluationSettings(), "quorum": 1} | values
    return Hub(job("ab").model_copy(update=values))


def rows(hub: Hub) -> list[Row]:
    return historyrows.rows(hub.store, hub.state.layout)


def test_each_round_is_a_row_with_what_every_site_measured():
    hub = ran(held_out_job())
    found = rows(hub)
    assert [(row.round, row.attempt, row.participants, row.missed, row.failed_attempts) for row in found] == [
        (0, 0, (), (), ()),
        (1, 1, ("a", "b"), (), ()),
        (2, 2, ("a",), ("b",), ("QuorumNotReached",)),
    ]
    assert [row.evaluation and round(row.evaluation.metrics["accuracy"], 6) for row in found] == [0.0, 0.1, 0.2]
    assert found[1].evaluation.site_samples == {"a": 3, "b": 3}
    held_out = [(row.held_out.metrics.get("accuracy"), row.held_out.missing) for row in found]
    assert held_out == [(0.25, ()), (0.75, ()), (None, ("x",))], "who came late is not missing any more"
    sizes = [len(update_of(client, 1)[0]) for client in "ab"]
    assert (found[1].bytes_up, found[1].bytes_down) == (sum(sizes), 2 * hub.commits()[0].model.size)
    assert found[1].samples == sum(update_of(client, 1)[1] for client in "ab")
    assert found[0].time == "1970-01-01T00:16:40.000Z"
    assert json.loads(found[1].line())["evaluation"]["sites"] == {"a": {"accuracy": 0.1}, "b": {"accuracy": 0.1}}
    few = historyrows.rows(hub.store, hub.state.layout, most_sites=1)[1]
    assert (few.evaluation.sites, few.evaluation.metrics) == ({"a": {"accuracy": 0.1}}, found[1].evaluation.metrics)


def test_what_came_down_is_counted_as_it_was_encoded():
    hub = ran(held_out_job(download=Encoding(codec="Int8")))
    plan = PlanRecord.stored(hub.store.get(hub.state.layout.record(1, 1, 1, "plan.json")))
    assert plan.broadcast.object.size != plan.base.size
    assert rows(hub)[1].bytes_down == 2 * plan.broadcast.object.size


def test_they_are_the_same_after_a_crash_at_any_write():
    undisturbed = ran(held_out_job(), in_time=True)
    wanted = [row.line() for row in rows(undisturbed)]
    for number, before in itertools.product(range(undisturbed.store.writes), (True, False)):
        hub = held_out_job()  # a restart gives late sites more time: here nobody is late
        hub.store.arm(number, before=before)
        assert [row.line() for row in rows(ran(hub, in_time=True))] == wanted, (number, before)


def test_an_evaluation_that_is_damaged_leaves_its_round_in_the_rows():
    hub = ran(held_out_job())
    wanted = rows(hub)
    key = next(k for k in hub.store.keys("control/") if "/000001/" in k and k.endswith("e1-a1/evaluation.json"))
    damaged = hub.store.get(key).replace(b"0.1", b"0.9")
    hub.store.delete(key)
    hub.store.put_once(key, damaged)
    found = rows(hub)
    assert found[1].evaluation is None
    assert (found[1].participants, found[2]) == (wanted[1].participants, wanted[2])


def test_a_job_without_a_commit_has_none():
    assert historyrows.rows(MemoryStore(), Layout("ns", "job", UID)) == []


@pytest.mark.parametrize("store", ["store-0.1", "store-0.1-closing"])
def test_records_of_older_versions_are_read_and_say_no_bytes(store):
    found = historyrows.rows(DiskStore(GOLDEN / store), Layout("ns", "job", UID))
    assert [row.round for row in found] == [0, 1]
    assert (found[1].bytes_up, found[1].held_out, len(found[1].participants) >= 2) == (None, None, True)
    assert found[0].evaluation.sites.keys() <= set(found[1].participants)


def test_a_volume_that_a_pod_prints_gives_the_same(tmp_path):
    layout = Layout("ns", "job", "11111111-2222-3333-4444-555555555555")
    hub = Hub(held_out_job(uid=layout.uid).config, None)
    hub.store = DiskStore(tmp_path)
    for call in (
        hub.start,
        lambda: hub.hear("a", "b"),
        lambda: hub.evaluate("a"),
        lambda: hub.deliver("a"),
        lambda: hub.deliver("b"),
    ):
        call()
    with VolumeRecords.of([volumes.printed(tmp_path, *RECORDS)]) as records:
        assert historyrows.rows(records, records.layout) == historyrows.rows(hub.store, layout) != []


def test_a_table_has_a_column_for_each_metric_and_site():
    head, *lines = as_csv(rows(ran(held_out_job()))).splitlines()
    names = head.split(",")
    table = [dict(zip(names, line.split(","), strict=True)) for line in lines]
    assert [(row["round"], row["accuracy[a]"], row["accuracy[b]"], row["held_out.accuracy"], row["missed"]) for row in table] == [
        ("0", "0.0", "0.0", "0.25", "0"), ("1", "0.1", "0.1", "0.75", "0"), ("2", "0.2", "0.2", "", "1"),
    ]  # fmt: skip
    assert table[1]["held_out.accuracy[x]"] == "0.75"


def test_a_cell_says_how_many_took_part_or_why_nobody():
    row = rows(ran(held_out_job()))[1]
    told = (row, replace(row, participants=(), skipped="EmptyDraw"), replace(row, participants=(), rolled_back_to=0))
    assert [took_part(each) for each in told] == ["2", "EmptyDraw", "back to 0"]
