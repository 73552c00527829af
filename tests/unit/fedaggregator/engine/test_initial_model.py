"""What the init step may leave in place of a model, since a task's code runs there: refused by name, waited for never."""

import os

import numpy as np
import pytest
from safetensors.numpy import save

from fedaggregator import handin
from fedaggregator.engine import content, records
from fedaggregator.engine.interpreter import Interpreter
from fedaggregator.engine.payloads import Payloads
from fedaggregator.errors import FatalError, RequestRefusedError
from fedaggregator.handin import opened
from fedapi.outcome import Exit
from fedapi.wire.initial import InitialManifest, InitialUpload
from fedapi.wire.message import ObjectRef
from fedapi.wire.site import Refusal
from fedcore.rounds import initial
from fedcore.rounds.events import InitialModelFound
from fedcore.rounds.machine import step
from fedcore.rounds.state import State
from fedstore.errors import HeadMovedError
from fedstore.memory import MemoryStore
from fedstore.objectstore import DIGEST
from tests.unit.fedcore.rounds import test_round_rules as rules


def pipe(path):
    os.mkfifo(path)


def link(path):
    path.symlink_to("/etc/hostname")


def folder(path):
    path.mkdir()


def nothing(_):
    pass


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is not a plain file"),
        (folder, "is not a plain file"),
        (link, "cannot be read"),
        (nothing, r"left no model: .* as sys.exit\(\) does"),
    ],
)
def test_what_is_no_file_is_refused_at_once(tmp_path, make, words):
    path = tmp_path / "model.safetensors"
    make(path)
    with pytest.raises(FatalError, match=words) as raised:
        opened(path)
    assert raised.value.code == Exit.TASK_INVALID


@pytest.mark.parametrize(("method", "meant"), [("POST", handin._DoneError), ("PUT", handin._AgainError)])
def test_only_the_aggregator_itself_can_say_that_there_is_nothing_left_to_do(method, meant):
    """An object store answers a PUT with 409 when another one is under way."""
    with pytest.raises(meant):
        handin._check(method, 409, b"conflict")


def test_what_is_no_model_is_refused_by_the_aggregator():
    store = MemoryStore()
    good = store.put_once("models/lab/job-u/good", save({"x": np.zeros(3, np.float32)}))
    content.check_model(store, good)
    bad = store.put_once("models/lab/job-u/bad", b"not a model at all")
    for ref, code in ((bad, "Malformed"), (good.model_copy(update={"size": 1}), "WrongSize")):
        with pytest.raises(RequestRefusedError) as told:
            content.check_model(store, ref)
        assert told.value.refusal.code == code


def test_of_models_that_were_sent_the_newest_stays_and_one_that_another_aggregator_took():
    store, layout = MemoryStore(), State(config=rules.config(), epoch=1).layout
    sent = [store.put_once(layout.model(0, DIGEST), data) for data in (b"first", b"second")]
    foreign = store.put_once(f"{layout.models()}/README", b"whose?")
    head, tag = records.take_head(MemoryStore(), layout)
    store.replace_head(layout.head, head.sealed().canonical(), None)
    Interpreter(store, Payloads(store, bytes(32)), layout, head, tag).keep_initial(sent[1])
    assert list(store.keys("models/")) == sorted([sent[1].key, foreign.key])
    records.take_head(store, layout)
    with pytest.raises(HeadMovedError):
        Interpreter(store, Payloads(store, bytes(32)), layout, head, tag).keep_initial(sent[0])
    assert store.get(sent[1].key) == b"second"


def test_the_first_model_counts_and_then_there_is_nothing_to_send():
    state = State(config=rules.config(), epoch=1)
    request = InitialUpload(job_uid=state.config.uid, sha256="a" * 64, size=7)
    granted = initial.upload(state, request)
    assert granted == ObjectRef(key=state.layout.model(0, "a" * 64), sha256="a" * 64, size=7)
    manifest = InitialManifest(job_uid=state.config.uid, payload=granted)
    assert initial.unwanted(state) is None
    assert initial.handed_in(state, manifest) is None
    state, _ = step(state, InitialModelFound(1.0, granted))
    assert initial.unwanted(state).code == "Duplicate"
    assert initial.upload(state, request).code == "Duplicate"
    assert initial.handed_in(state, manifest) is None, "sent again it is a duplicate, not wrong"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"job_uid": "another"}, "Malformed"),
        ({"payload": ObjectRef(key="models/x", sha256="a" * 64, size=7)}, "Malformed"),
    ],
)
def test_another_jobs_model_or_another_place_is_refused(change, code):
    state = State(config=rules.config(), epoch=1)
    object_ = ObjectRef(key=state.layout.model(0, "a" * 64), sha256="a" * 64, size=7)
    manifest = InitialManifest(job_uid=state.config.uid, payload=object_)
    refusal = initial.handed_in(state, manifest.model_copy(update=change))
    assert isinstance(refusal, Refusal)
    assert refusal.code == code
    if "job_uid" in change:
        assert initial.upload(state, InitialUpload(sha256="a" * 64, size=7, **change)).code == code
