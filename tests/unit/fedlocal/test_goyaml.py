"""YAML is read as kubectl reads it: what Go's library made of each text is recorded beside this test.

goyaml.json: [text, JSON values of its documents that are not null, or null where kubectl refuses]. Taken from
k8s.io/apimachinery 0.34.4 (util/yaml's decoder, by sigs.k8s.io/yaml 1.6.0), the version of tests/cluster/tools.go.mod.
"""

import json
from pathlib import Path

import pytest

from fedlocal import goyaml

TABLE = json.loads(Path(__file__).with_suffix(".json").with_name("goyaml.json").read_text())


def read(text):
    try:
        return [value for value in goyaml.documents(text) if value is not None]
    except goyaml.NotKubectlError:
        return None


def test_every_text_means_what_it_means_to_kubectl():
    exact = [
        (text, json.dumps(read(text), sort_keys=True), json.dumps(wanted, sort_keys=True)) for text, wanted in TABLE
    ]
    assert [entry for entry in exact if entry[1] != entry[2]] == []
    assert len(exact) > 350


def test_without_the_c_library_values_are_the_same(monkeypatch):
    import yaml

    class Loader(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser, goyaml.Composer):
        def __init__(self, text):
            yaml.reader.Reader.__init__(self, text)
            yaml.scanner.Scanner.__init__(self)
            yaml.parser.Parser.__init__(self)
            goyaml.Composer.__init__(self)

    monkeypatch.setattr(goyaml, "Loader", Loader)
    wrong = [text for text, wanted in TABLE if wanted is not None and "\t" not in text and read(text) != wanted]
    assert wrong == []


@pytest.mark.parametrize(
    "text",
    [
        "[" * 20000,
        "a: &a [x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)),
    ],
)
def test_texts_that_would_take_all_memory_are_refused(text):
    with pytest.raises(goyaml.NotKubectlError):
        goyaml.documents(text)
