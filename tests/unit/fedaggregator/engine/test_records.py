"""Records of several epochs."""

from fedaggregator.engine import records
from fedapi.wire.store import Head
from fedcore.rounds.effects import WriteClose, WriteFailure
from fedcore.rounds.state import State
from fedstore.memory import MemoryStore
from tests.unit.fedaggregator.engine.epochs import attempt_records, started
from tests.unit.fedcore.rounds import test_round_rules as rules


def test_of_several_records_the_one_of_the_newest_epoch_counts():
    store, layout = MemoryStore(), State(rules.config(), 0).layout
    store.replace_head(layout.head, Head(epoch=1, round=0).sealed().canonical(), None)
    for epoch in range(2, 13):
        interpreter, head = started(store)
        close, failure = attempt_records(f"epoch{epoch}")
        interpreter.perform(WriteClose(close))
        interpreter.perform(WriteFailure(failure))
    log = records.load_log(store, layout, head)
    assert [close.accepted for close in log.closes] == [(f"epoch{epoch}",) for epoch in range(2, 13)]
    assert log.failures[-1].message == "epoch12"
