"""Manifests that are almost right YAML or JSON: documents, or refused in kubectl's sense."""

from fedlocal import goyaml
from fedlocal.goyaml import NotKubectlError
from tests.property.mutations import check

SAMPLES = [
    b"kind: FLClient\nmetadata: {name: a}\nspec:\n  data: &x [1, 0x1F, yes, 1e3, ~]\n  again: *x\n---\nkind: List\n",
    b'{"kind": "FederatedJob", "metadata": {"name": "a", "labels": {"x": "\\u00e9"}}, "spec": {"rounds": 3}}',
    b"|\n  text\n---\n- 'it''s'\n- \"\\x41\"\n- !!str 1\n- 2026-01-01\n",
]


def test_documents_are_read_or_refused():
    check(lambda data: goyaml.documents(data.decode("utf-8", "replace")), SAMPLES, NotKubectlError, examples=300)
