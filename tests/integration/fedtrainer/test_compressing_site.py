"""A real trainer that encodes what it sends to a real aggregator: the same bytes after a kill, and what was not sent is kept."""

import signal
from itertools import pairwise

import pytest

from fedapi.outcome import Exit
from fedapi.wire.compression import Compression, Encoding
from fedapi.wire.protocol import COMPRESSION, DOWNLOAD, FEATURES
from fedapi.wire.site import Assignment, NextRequest, Refusal
from tests.integration.fedaggregator.harness import UID, https
from tests.integration.fedtrainer.programs import Site, models
from tests.integration.protocol.faults import Answer, Cut
from tests.waiting import until

INT8 = Compression(codec="Int8")
TOPK = Compression(codec="TopK", fraction=0.05, error_feedback=True)
INT8_DOWN = Encoding(codec="Int8")
EVERY = [Compression(codec=codec) for codec in ("Float16", "BFloat16", "Int4")] + [INT8, TOPK]


@pytest.fixture
def job_values():
    return {"rounds": 3}


def started(folder, hub, kind="Wide", **env):
    site = Site(folder, hub, env=env)
    hub.give(site.initial_model(kind))
    return site


def codes(site, kind, ranks):
    """Of a run with so many ranks."""
    return site.end_ranks(site.start_ranks(kind)) if ranks > 1 else [site.run("train", kind).code]


def undisturbed(tmp_path, made, kind="Wide", ranks=1, **values):
    """The models of a run in which nothing happened."""
    hub = made(**values)
    site = started(tmp_path / f"undisturbed-{kind}", hub, kind)
    assert codes(site, kind, ranks) == [0] * ranks, (site.folder / "log").read_text()
    return models(hub)


@pytest.mark.parametrize("compression", EVERY, ids=lambda each: each.codec)
@pytest.mark.parametrize("inline", [True, False])
def test_rounds_with_a_codec(tmp_path, made, compression, inline):
    hub = made(compression=compression, inline=inline)
    site = started(tmp_path / "site", hub)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert [m.payloads["update"].codec for m in hub.updates] == [compression.codec] * 3
    assert all(m.payloads["update"].object.size < 36_000 for m in hub.updates), (
        "4,800 parameters, 2,403 numbers of buffers"
    )
    assert len(set(models(hub))) == 4, "each round has changed the model"
    assert f"{compression.codec}: the update is" in ended.log


def test_encoded_and_encrypted_it_is_the_same_model(tmp_path, made):
    plain = undisturbed(tmp_path, made, compression=TOPK)
    hub = made(compression=TOPK, encryption="X25519")
    site = started(tmp_path / "site", hub)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub) == plain
    assert all((p := m.payloads["update"]).encryption and p.codec == "TopK" for m in hub.updates)


FAULTS = [
    [("updates", Cut("after"))],
    [("updates", Answer(503)), ("updates", Cut("after"))],
    [("updates", Answer(409, "StaleRound"))],
]


@pytest.mark.parametrize("faults", FAULTS, ids=str)
def test_what_was_not_sent_counts_once_whatever_is_answered(tmp_path, made, faults):
    expected = undisturbed(tmp_path, made, compression=TOPK)
    hub = made(compression=TOPK)
    site = started(tmp_path / "site", hub)
    for route, fault in faults:
        hub.line.plan(route, fault)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub) == expected


WHERE = [(1, kind, where) for kind in ("Wide", "WideAlone") for where in ("train", "staged", "evaluate")]


@pytest.mark.parametrize(("ranks", "kind", "where"), [*WHERE, (2, "Wide", "staged"), (2, "WideAlone", "staged")])
def test_a_killed_site_goes_on_with_what_it_has_not_sent(tmp_path, made, ranks, kind, where):
    hub = made(compression=TOPK)
    site = started(tmp_path / "site", hub, kind, TINY_KILL=f"{where}:{tmp_path / 'killed'}")
    first = codes(site, kind, ranks)
    assert -signal.SIGKILL in first
    assert set(first) <= {-signal.SIGKILL, Exit.RING_BROKEN}
    assert codes(site, kind, ranks) == [0] * ranks, (site.folder / "log").read_text()
    assert models(hub) == undisturbed(tmp_path, made, kind, ranks, compression=TOPK)
    if kind == "Wide":
        assert [m.metrics["n"] for m in hub.updates] == [1, 2, 3]


def test_without_what_was_not_sent_it_is_another_model(tmp_path, made):
    """What the tests before rest on. The loss is told, and ends nothing."""
    hub = made(compression=TOPK)
    site = started(tmp_path / "site", hub, "WideAlone", TINY_KILL=f"train:{tmp_path / 'killed'}")
    assert site.run("train", "WideAlone").code == -signal.SIGKILL
    for path in (site.folder / "state" / UID / "site-a" / "state").iterdir():
        path.unlink()
    ended = site.call("train", "WideAlone")
    assert ended.code == 0, ended.log
    assert "what earlier updates left unsent: begins with nothing" in ended.log
    expected = undisturbed(tmp_path, made, "WideAlone", compression=TOPK)
    same = [ours == theirs for ours, theirs in zip(models(hub), expected, strict=True)]
    assert same == [True, True, False, False]


def test_a_codec_may_change_between_rounds(tmp_path, made):
    hub = made(compression=TOPK)
    site = started(tmp_path / "site", hub, "WideAlone", TINY_KILL=f"evaluate:{tmp_path / 'killed'}")
    assert site.run("train", "WideAlone").code == -signal.SIGKILL
    hub.job.write_config(hub.job.config.model_copy(update={"compression": INT8}))
    ended = site.call("train", "WideAlone")
    assert ended.code == 0, ended.log
    codecs = [m.payloads["update"].codec for m in hub.updates]
    assert codecs[0] == "TopK"
    assert codecs[-1] == "Int8"
    assert all(after in (before, "Int8") for before, after in pairwise(codecs))


def test_a_trainer_without_codecs_is_refused_by_name(tmp_path, made):
    hub = made(compression=INT8)
    started(tmp_path / "site", hub)
    asked = NextRequest(
        wait_s=0, protocol=2, oldest_protocol=2, features=tuple(f for f in FEATURES if f != COMPRESSION)
    )
    with https(hub.job, "site-a") as client:
        answer = client.post("/v1/sites/site-a/next", content=asked.model_dump_json())
        told = Refusal.model_validate_json(answer.content)
        assert (answer.status_code, told.code) == (422, "Incompatible")
        words = "cannot do compression.codec Int8: build its task image with a trainer of this hub's version, or set it to None"
        assert words in told.message
        fit = client.post(
            "/v1/sites/site-a/next", content=asked.model_copy(update={"features": FEATURES}).model_dump_json()
        )
        order = Assignment.model_validate_json(fit.content).train
        assert order is not None
        assert order.compression == INT8


DOWN = [Encoding(codec=codec) for codec in ("Float16", "BFloat16", "Int8")]


@pytest.mark.parametrize("download", DOWN, ids=lambda each: each.codec)
@pytest.mark.parametrize("inline", [True, False])
def test_rounds_whose_models_come_encoded(tmp_path, made, download, inline):
    hub = made(download=download, inline=inline)
    site = started(tmp_path / "site", hub)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert ended.log.count(f"{download.codec}: the model is") == 3
    assert len(set(models(hub))) == 4, "each round has changed the model"
    assert [m.base_sha256 for m in hub.updates] == models(hub)[:-1], "what is committed has all its digits"


def test_both_ways_encrypted_and_at_two_ranks(tmp_path, made):
    values = {"download": INT8_DOWN, "compression": TOPK}
    plain = undisturbed(tmp_path / "both", made, **values)
    assert plain != undisturbed(tmp_path / "up", made, compression=TOPK), "sites start from what they get"
    hub = made(**values, encryption="X25519")
    site = started(tmp_path / "site", hub)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub) == plain
    hub = made(**values)
    site = started(tmp_path / "ring", hub)
    assert codes(site, "Wide", 2) == [0, 0], (site.folder / "log").read_text()
    assert len(set(models(hub))) == 4


@pytest.mark.parametrize("where", ["train", "staged", "evaluate"])
def test_a_killed_site_starts_from_the_same_model_again(tmp_path, made, where):
    values = {"download": INT8_DOWN, "compression": TOPK}
    hub = made(**values)
    site = started(tmp_path / "site", hub, TINY_KILL=f"{where}:{tmp_path / 'killed'}")
    assert site.run("train", "Wide").code == -signal.SIGKILL
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub) == undisturbed(tmp_path, made, **values)


def test_a_trainer_that_cannot_read_encoded_models_is_refused_by_name(tmp_path, made):
    hub = made(download=INT8_DOWN)
    started(tmp_path / "site", hub)
    without = tuple(f for f in FEATURES if f != DOWNLOAD)
    asked = NextRequest(wait_s=0, protocol=2, oldest_protocol=2, features=without)
    with https(hub.job, "site-a") as client:
        answer = client.post("/v1/sites/site-a/next", content=asked.model_dump_json())
    told = Refusal.model_validate_json(answer.content)
    assert (answer.status_code, told.code) == (422, "Incompatible")
    assert "cannot do compression.download.codec Int8: build its task image" in told.message


DELTAS = [Encoding(codec="Int8"), Encoding(codec="Int4"), Encoding(codec="TopK", fraction=0.1)]
BY_DELTA = {"download": DELTAS[2], "download_delta": True, "compression": TOPK}


@pytest.mark.parametrize("download", DELTAS, ids=lambda each: each.codec)
@pytest.mark.parametrize("inline", [True, False])
def test_rounds_whose_models_come_as_deltas(tmp_path, made, download, inline):
    hub = made(download=download, download_delta=True, inline=inline)
    site = started(tmp_path / "site", hub)
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert ended.log.count(f"{download.codec}: the model is") == 2, "the first comes as it is"
    assert "fetches all" not in ended.log
    assert len(set(models(hub))) == 4, "each round has changed the model"
    assert [m.base_sha256 for m in hub.updates] == models(hub)[:-1], "what is committed has all its digits"


@pytest.mark.parametrize("where", ["train", "staged", "evaluate"])
@pytest.mark.parametrize("loses", [False, True], ids=["keeps", "loses"])
def test_a_killed_site_makes_the_same_model_whether_it_has_the_one_before(tmp_path, made, where, loses):
    hub = made(**BY_DELTA)
    site = started(tmp_path / "site", hub, TINY_KILL=f"{where}:{tmp_path / 'killed'}")
    assert site.run("train", "Wide").code == -signal.SIGKILL
    left = list((site.folder / "state" / UID / "site-a").glob("model-*.safetensors"))
    assert len(left) == 1
    if loses:
        left[0].unlink()
    ended = site.call("train", "Wide")
    assert ended.code == 0, ended.log
    assert models(hub) == undisturbed(tmp_path, made, **BY_DELTA)


def test_a_ring_goes_by_deltas_too(tmp_path, made):
    hub = made(**BY_DELTA)
    site = started(tmp_path / "ring", hub)
    assert codes(site, "Wide", 2) == [0, 0], (site.folder / "log").read_text()
    log = (site.folder / "log").read_text()
    assert (log.count("TopK: the model is"), log.count("fetches all")) == (2, 0)


def test_the_initial_model_that_stays_is_what_the_first_delta_is_added_to(tmp_path, made):
    """Most of its tensors do not travel."""
    hub = made(**BY_DELTA, inline=False)
    site = started(tmp_path / "site", hub, "Backboned")
    ended = site.call("train", "Backboned")
    assert ended.code == 0, ended.log
    assert (ended.log.count("TopK: the model is"), ended.log.count("fetches all")) == (2, 0)
    whole = site.initial_model("Backboned").stat().st_size
    fetched = [len(each.answer) for each in hub.line.exchanges if each.route == "get" and each.status == 200]
    assert [size for size in fetched if size >= whole] == [whole]


@pytest.mark.parametrize("rot", ["nothing", "changed", "cut", "gone"])
def test_pods_of_one_round_each_find_the_model_before(tmp_path, made, rot):
    """What a pod has left is looked at: of anything else, or of nothing, comes no model."""
    hub = made(**BY_DELTA, lifetime="Round")
    site = started(tmp_path / "site", hub, "WideAlone", FEDLOOM_LIFETIME="Round")
    logs = []
    for round_ in (1, 2, 3):
        hub.plan()
        logs.append(site.call("train", "WideAlone"))
        assert logs[-1].code == 0, logs[-1].log
        (held,) = (site.folder / "state" / UID / "site-a").glob("model-*.safetensors")
        if round_ == 1 and rot != "nothing":
            data = held.read_bytes()
            held.unlink()
            if rot != "gone":
                held.write_bytes(
                    data[:-20000] + bytes([data[-20000] ^ 64]) + data[-19999:] if rot == "changed" else data[:-4]
                )
    assert ["TopK: the model is" in each.log for each in logs] == [False, rot == "nothing", True]
    assert ["fetches all" in each.log for each in logs] == [False, rot != "nothing", False]
    until(lambda: len(set(models(hub))) == 4)
