"""`fedloom run` with each codec: sites send what they are told to send, get what they are to get, and learn by it."""

import json
import re

import pytest

from tests.integration.fedlocal import together
from tests.integration.fedlocal.runs import SITES, Lab, job

TASK = {"entrypoint": "lab:task", "image": "none", "args": {"width": 1200}}
TRAINING = {"epochs": 4, "optimizer": {"learningRate": "0.002"}}
CODECS = {
    "None": ({"codec": "None"}, 1),
    "Float16": ({"codec": "Float16"}, 1.9),
    "BFloat16": ({"codec": "BFloat16"}, 1.9),
    "Int8": ({"codec": "Int8", "errorFeedback": True}, 3.2),
    "Int4": ({"codec": "Int4"}, 6),
    "TopK": ({"codec": "TopK", "topK": {"fraction": "0.1"}}, 5),
}
DOWN = {"Float16": 1.6, "BFloat16": 1.6, "Int8": 2.2}  # a third of this small model is biases
DELTAS = {  # of two thirds
    "Int8": ({"codec": "Int8"}, 2.2),
    "Int4": ({"codec": "Int4"}, 2.5),
    "TopK": ({"codec": "TopK", "topK": {"fraction": "0.1"}}, 2.3),
}
JOBS = {
    **{codec.lower(): compression for codec, (compression, _) in CODECS.items()},
    **{f"down-{codec.lower()}": {"codec": "Int8", "download": {"codec": codec}} for codec in DOWN},
    **{f"delta-{codec.lower()}": {"download": said | {"delta": True}} for codec, (said, _) in DELTAS.items()},
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """All of them at once."""
    spec = {"task": TASK, "training": TRAINING, "rounds": 4}
    jobs = [job(name, compression=compression, **spec) for name, compression in JOBS.items()]
    folder = Lab.of(tmp_path_factory.mktemp("codecs"), *jobs, *SITES).folder
    return together.run_all(folder, JOBS, trainers="own")


def learned(ran, name):
    """The status of a job that completed, and its state folder."""
    ending, state = ran[name]
    status = ending.job["status"]
    assert ending.phase == "Complete", ending.message
    loss = {each["name"]: float(each["value"]) for each in status["metrics"]}["loss"]
    assert loss < 2, "it begins at about 6"
    return status, state


def sizes(state, site, codec, what="update"):
    """(bytes that travelled, bytes without codec) of a site's updates, or models, as its log says them."""
    said = rf"{codec}: the {what} is (\d+) bytes instead of (\d+)"
    return [tuple(map(int, found)) for found in re.findall(said, (state.logs / f"{site}.log").read_text())]


def plans(state):
    return [json.loads(path.read_text()) for path in state.root.glob("claims/*/control/**/plan.json")]


@pytest.mark.parametrize("codec", CODECS)
def test_a_job_with_a_codec(ran, codec):
    (status, state), (_, smaller) = learned(ran, codec.lower()), CODECS[codec]
    assert [client["rounds"] for client in status["clients"]] == [4, 4]
    for site in ("north", "south"):
        said = sizes(state, site, codec)
        assert len(said) == (0 if codec == "None" else 4)
        assert all(plain / sent >= smaller for sent, plain in said)
    assert {plan["codec"] for plan in plans(state)} == {codec}
    assert {"compression" in plan for plan in plans(state)} == {codec != "None"}


@pytest.mark.parametrize("codec", DOWN)
def test_a_job_whose_models_come_encoded(ran, codec):
    _, state = learned(ran, f"down-{codec.lower()}")
    for site in ("north", "south"):
        said = sizes(state, site, codec, "model")
        assert len(said) == 4, "the last model is evaluated as it is"
        assert all(plain / came >= DOWN[codec] for came, plain in said)
    assert {plan["broadcast"]["encoding"]["codec"] for plan in plans(state)} == {codec}
    left = [path.name for path in state.root.glob("claims/*/models/**/*.broadcast.safetensors")]
    assert left == [], "what nobody fetches any more is gone"


@pytest.mark.parametrize("codec", DELTAS)
def test_a_job_whose_models_come_as_deltas(ran, codec):
    _, state = learned(ran, f"delta-{codec.lower()}")
    for site in ("north", "south"):
        said = sizes(state, site, codec, "model")
        assert len(said) == 3, "the first model comes as it is, and the last is evaluated so"
        assert all(plain / came >= DELTAS[codec][1] for came, plain in said)
        assert "fetches all" not in (state.logs / f"{site}.log").read_text()
    made = sorted(plans(state), key=lambda plan: plan["round"])
    assert [plan.get("broadcast", {}).get("of") for plan in made] == [None, *(each["reference"] for each in made[:-1])]
    left = [path.name for path in state.root.glob("claims/*/models/**/*.broadcast.safetensors")]
    assert left == [], "what nobody fetches any more is gone"
