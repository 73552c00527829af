"""A model of which a part travels is pulled whole, or that part alone; each file is the same bytes every time."""

import json
import shutil

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from fedapi.wire.message import ObjectRef
from fedstore.errors import ContentMismatchError
from fedstore.wholemodel import pulled

WHOLE = {
    "backbone": np.arange(300_000, dtype=np.float32),
    "head": np.zeros((2, 3), np.float32),
    "norm": np.ones(3, np.float64),
    "step": np.array(3, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}
SAID = {"buffers": ["step"], "frozen": ["backbone", "empty"], "local": ["norm"]}
PART = {"head": np.full((2, 3), 7, np.float32), "step": np.array(5, np.int64)}


def ref(letter):
    return ObjectRef(key=f"models/{letter}", sha256=letter * 64, size=1)


INITIAL, MODEL = ref("a"), ref("b")


@pytest.fixture
def pull(tmp_path):
    save_file(WHOLE, tmp_path / INITIAL.sha256, {"fedloom": json.dumps(SAID)})
    save_file(PART, tmp_path / MODEL.sha256)

    def act(model, initial, *, alone=False):
        target = tmp_path / "out" / "m.safetensors"
        target.parent.mkdir(exist_ok=True)

        def fetch(of, path):
            return shutil.copy(tmp_path / of.sha256, path)

        digest = pulled(fetch, model, initial, target, exchanged_alone=alone)
        assert [path.name for path in target.parent.iterdir()] == [target.name], "nothing else is left"
        return digest, load_file(target), target

    return act


def test_a_round_is_put_over_the_initial_model(pull):
    digest, found, path = pull(MODEL, INITIAL)
    assert found.keys() == WHOLE.keys()
    assert all(np.array_equal(found[name], (WHOLE | PART)[name]) for name in WHOLE)
    with safe_open(path, "np") as file:
        assert file.metadata() is None, "all of it is there"
    assert pull(MODEL, INITIAL)[0] == digest


def test_the_part_that_travels_alone(pull):
    assert pull(MODEL, INITIAL, alone=True)[:1] == (MODEL.sha256,)
    _, found, _ = pull(INITIAL, INITIAL, alone=True)
    assert found.keys() == PART.keys()
    assert np.array_equal(found["head"], WHOLE["head"])


def test_a_whole_file_is_given_as_it_is(pull):
    assert pull(INITIAL, INITIAL)[0] == INITIAL.sha256
    assert pull(MODEL, None)[0] == MODEL.sha256
    assert pull(MODEL, None, alone=True)[0] == MODEL.sha256


def test_a_model_that_does_not_belong_to_the_initial_one_is_told(pull, tmp_path):
    save_file({"head": PART["head"]}, tmp_path / MODEL.sha256)
    with pytest.raises(ContentMismatchError, match="are not those of the initial model that travel"):
        pull(MODEL, INITIAL)
