"""Whatever happens between a site and the aggregator, the job ends with the model of an undisturbed one, bit for bit.

One suite for both sides: the trainer, and the scripted site by which the aggregator's own tests stand in for it.
"""

import threading
from functools import cache

import pytest
from safetensors.numpy import save_file

from tests.integration.fedaggregator.harness import Site as Scripted
from tests.integration.fedaggregator.harness import close_clients, small_model
from tests.integration.fedtrainer.programs import HERE, Site, end_all
from tests.integration.protocol.application import Hub
from tests.integration.protocol.faults import Answer, Changed, Cut, Delay, Newer, Spoilt
from tests.waiting import until

SHORT_S = 3.0  # of a URL's life, where a test lets it end: long enough for all other requests of a slow machine

# name: faults by route, and what the trainer reports to the aggregator as its own failure on the way
FAULTS = {
    "nothing": ([], []),
    "hello is lost": ([("next", Cut("before"))], []),
    "an order is lost": ([("next", Delay(0)), ("next", Cut("after"))], []),
    "no time for orders": ([("next", Answer(503)), ("next", Answer(429, "Busy"))], []),
    "not yet in the roster": ([("next", Answer(403, "NotInJob"))], []),
    "half a model": ([("get", Cut("within"))], []),
    "half a model twice": ([("get", Cut("within")), ("get", Cut("before"))], []),
    "another model": ([("get", Changed("answer"))], []),
    "the store is busy": ([("get", Answer(503, "StoreFull"))], []),
    "a model that is gone": ([("get", Answer(410, "Missing"))], []),
    "a model's URL that is over": ([("get", Delay(SHORT_S + 0.5))], []),
    "an announcement is lost": ([("uploads", Cut("before"))], []),
    "a grant is lost": ([("uploads", Cut("after"))], []),
    "an upload is lost": ([("put", Cut("before"))], []),
    "the end of an upload is lost": ([("put", Cut("after"))], []),
    "an upload's URL that is over": ([("put", Delay(SHORT_S + 0.5))], []),
    "an upload that is refused": ([("put", Answer(410, "Expired")), ("put", Answer(403, "Expired"))], []),
    "an upload that fails": ([("put", Answer(500, "StoreFull")), ("put", Answer(502))], []),
    "another update": ([("put", Changed("request"))], ["UpdateRefused"]),
    "a manifest is lost": ([("updates", Cut("before"))], []),
    "a receipt is lost": ([("updates", Cut("after"))], []),
    "half a receipt": ([("updates", Cut("within"))], []),
    "no time for a manifest": ([("updates", Answer(503))], []),
    "a manifest that is late": ([("updates", Answer(409, "StaleAttempt"))], []),
    "an announcement that is late": ([("uploads", Answer(409, "StaleRound"))], []),
    "an update that does not fit": ([("updates", Answer(422, "WrongShape"))], ["UpdateRefused"]),
    "an update that is too large": ([("uploads", Answer(413, "TooLarge"))], ["UpdateRefused"]),
    "an evaluation is lost": ([("evaluations", Cut("before")), ("evaluations", Cut("after"))], []),
    "a newer aggregator": ([(route, Newer()) for route in ("uploads", "updates", "evaluations", *["next"] * 3)], []),
    "an evaluation that is late": ([("evaluations", Delay(0.2))], []),
}
BY_URL = ("get", "uploads", "put")
INLINE = {
    "a newer aggregator that sends models": ([(r, Newer()) for r in ("updates", "evaluations", *["next"] * 3)], []),
    "another model in an order": ([("next", Delay(0)), ("next", Spoilt("answer"))], []),
    "no other model to be had": ([("next", Delay(0)), ("next", Spoilt("answer")), ("get", Cut("within"))], []),
    "another update in a manifest": ([("updates", Spoilt("request"))], ["UpdateRefused"]),
    "an update comes twice": ([("updates", Cut("after")), ("updates", Cut("within"))], []),
    "no room for an update": ([("updates", Answer(503, "StoreFull")), ("updates", Answer(502))], []),
}
# In messages, as small objects go; by URL, as larger ones do, where a fault meets a URL.
CASES = [(name, not {route for route, _ in faults} & {*BY_URL}) for name, (faults, _) in FAULTS.items()]
CASES += [("nothing", False), *((name, True) for name in INLINE)]
OVER = [name for name in FAULTS if name.endswith("URL that is over")]


@pytest.fixture(autouse=True)
def ended(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    end_all()
    close_clients()


class TrainerSide:
    """The trainer's main function."""

    def __init__(self, folder, hub):
        self.site = Site(folder / "site", hub)

    def model(self):
        return self.site.initial_model()

    def work(self):
        ended = self.site.call("train")
        assert ended.code == 0, ended.log


class ScriptedSide:
    """The harness's site."""

    def __init__(self, folder, hub):
        self.folder, self.site = folder, Scripted(hub.job, "site-a", url=hub.url)

    def model(self):
        save_file(small_model(), self.folder / "model.safetensors")
        return self.folder / "model.safetensors"

    def work(self):
        self.site.run()


def job(folder, side, *faults, refuse_s=0.0, url_lifetime_s=600.0, inline=True):
    """A job of two rounds; its aggregator, ended."""
    hub = Hub(folder / "hub", rounds=2, url_lifetime_s=url_lifetime_s, inline=inline)
    try:
        worker = side(folder, hub)
        hub.give(worker.model())
        for route, fault in faults:
            hub.line.plan(route, fault)
        if refuse_s:
            hub.line.refuses = True
            threading.Timer(refuse_s, hub.line.mend).start()
        worker.work()
        until(lambda: "outcome" in hub.job.status())
    finally:
        hub.close()
    assert not hub.line.left, "every fault has met its request"
    return hub


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Digest of the model, by side."""

    @cache
    def digest(side):
        return job(tmp_path_factory.mktemp("undisturbed"), side).job.status()["model"]["sha256"]

    return digest


@pytest.mark.parametrize("side", [TrainerSide, ScriptedSide])
@pytest.mark.parametrize(
    ("name", "inline"), CASES, ids=[f"{name}-{'inline' * inline or 'url'}" for name, inline in CASES]
)
def test_a_fault_changes_nothing(tmp_path, undisturbed, side, name, inline):
    faults, failures = (FAULTS | INLINE)[name]
    hub = job(tmp_path, side, *faults, url_lifetime_s=SHORT_S if name in OVER else 600, inline=inline)
    status = hub.job.status()
    assert (status["outcome"]["result"], status["model"]["sha256"]) == ("Succeeded", undisturbed(side))
    assert sorted({m.round for m in hub.updates}) == [1, 2]
    assert len(hub.updates) == 2, "every round counts one update"
    routes = {exchange.route for exchange in hub.line.exchanges}
    assert (not inline) == ({*BY_URL} <= routes), "small objects travel in messages, unless told otherwise"
    if side is TrainerSide:
        assert [f["reason"] for f in hub.failures] == failures


@pytest.mark.parametrize("side", [TrainerSide, ScriptedSide])
def test_a_line_that_refuses_for_a_while(tmp_path, undisturbed, side):
    hub = job(tmp_path, side, refuse_s=0.3)
    assert hub.job.status()["model"]["sha256"] == undisturbed(side)


def test_a_model_whose_bytes_stay_wrong_is_reported_and_never_used(tmp_path, undisturbed):
    hub = job(tmp_path, TrainerSide, *[("get", Changed("answer"))] * 3, inline=False)
    assert [f["reason"] for f in hub.failures] == ["UpdateRefused"]
    assert [(m.round, m.attempt) for m in hub.updates] == [(1, 2), (2, 1)]
    assert hub.job.status()["model"]["sha256"] == undisturbed(TrainerSide)
