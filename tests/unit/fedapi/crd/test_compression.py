"""spec.compression: what plans are told of it, and what its rules refuse."""

import pytest

from fedapi.crd.compression import Compression
from fedapi.wire.compression import Compression as Told
from fedapi.wire.compression import Encoding
from fedlocal.validation import checked
from tests.unit.fedlocal.test_manifests import JOB, changed

FEEDBACK = {"error_feedback": True}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, None),
        ({"codec": "None"}, None),
        ({"codec": "None", "errorFeedback": False}, None),
        ({"codec": "Int8"}, Told(codec="Int8")),
        ({"codec": "Int4", "errorFeedback": True}, Told(codec="Int4", **FEEDBACK)),
        ({"codec": "TopK", "topK": {}}, Told(codec="TopK", fraction=0.01, **FEEDBACK)),
        ({"codec": "TopK", "topK": {"fraction": "5e-2"}}, Told(codec="TopK", fraction=0.05, **FEEDBACK)),
        ({"codec": "TopK", "topK": {}, "errorFeedback": False}, Told(codec="TopK", fraction=0.01)),
    ],
)
def test_what_plans_are_told(said, told):
    assert Compression.model_validate(said).told() == told
    assert not checked(changed(JOB, "spec.compression", said))[1]


@pytest.mark.parametrize("codec", ["Float16", "BFloat16", "Int8"])
def test_what_plans_are_told_of_the_way_down(codec):
    said = {"download": {"codec": codec}}
    assert Compression.model_validate(said).told_download() == Encoding(codec=codec)
    assert Compression.model_validate(said).told() is None
    assert Compression.model_validate({"codec": "Int8"}).told_download() is None
    assert not checked(changed(JOB, "spec.compression", said))[1]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"codec": "Int4", "delta": True}, Encoding(codec="Int4")),
        ({"codec": "TopK", "topK": {}, "delta": True}, Encoding(codec="TopK", fraction=0.01)),
        ({"codec": "BFloat16", "delta": True}, Encoding(codec="BFloat16")),
    ],
)
def test_what_plans_are_told_of_deltas(said, told):
    assert Compression.model_validate({"download": said}).told_download() == told
    assert not checked(changed(JOB, "spec.compression", {"download": said}))[1]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"codec": "TopK"},
            "codec TopK needs topK, and no other takes it: write topK: {} for the defaults, or remove it",
        ),
        ({"codec": "Int8", "topK": {}}, "no other takes it"),
        ({"codec": "TopK", "topK": {"fraction": "0"}}, "fraction must be over 0 and at most 0.5"),
        ({"codec": "TopK", "topK": {"fraction": "0.6"}}, "above which an update is no smaller, for example '0.01'"),
        ({"errorFeedback": True}, "errorFeedback goes with a codec"),
        ({"codec": "Zstd"}, "must be 'None', 'Float16'"),
        ({"download": {"codec": "TopK", "topK": {}}}, "write delta: true, or take Int8"),
        ({"download": {"codec": "Int4"}}, "Int4 and TopK are of changes"),
        ({"download": {"codec": "TopK", "delta": True}}, "codec TopK needs topK"),
        ({"download": {"codec": "Int4", "delta": True, "topK": {}}}, "no other takes it"),
        ({"download": {"codec": "None"}}, "must be 'Float16', 'BFloat16', 'Int8', 'Int4' or 'TopK'"),
        ({"download": {}}, "is required: add it"),
    ],
)
def test_what_is_refused(said, words):
    (finding,) = checked(changed(JOB, "spec.compression", said))[1]
    assert finding[0].startswith("spec.compression")
    assert words in finding[1]
