"""The rules of the custom resources have the same verdicts here as at the API server: its own table, and all TPU slices."""

import itertools

import pytest

from fedapi.crd.fields import VALIDATIONS
from fedapi.crd.tpu import TPU_TYPES, counts
from fedlocal.schema_rules import violations
from fedlocal.validation import checked
from tests.integration.crds.test_custom_resources_accepted_and_refused import SITE, TABLE, changed, label


@pytest.mark.parametrize("case", TABLE, ids=label)
def test_verdicts_are_those_of_the_api_server(case):
    base, path, good, bad, _ = case
    assert checked(changed(base, path, good))[1] == []
    assert checked(changed(base, path, bad))[1] != []


TOPOLOGIES = sorted({topology for kind in TPU_TYPES.values() for topology in kind.topologies})


@pytest.mark.parametrize(("type_", "count"), list(itertools.product(TPU_TYPES, (1, 2, 4, 8))))
def test_a_slice_is_accepted_where_the_table_has_it(type_, count):
    def accepted(topology):
        pool = {"accelerator": "TPU", "count": count, "tpu": {"type": type_, "topology": topology}}
        return not checked(changed(SITE, "spec.pool", pool))[1]

    known = TPU_TYPES[type_].topologies
    wanted = {topology for topology in TOPOLOGIES if topology in known and count in counts(type_, topology)}
    assert {topology for topology in TOPOLOGIES if accepted(topology)} == wanted


def test_a_rule_that_cannot_be_evaluated_refuses_as_at_the_api_server():
    rules = [
        {"rule": "self.a.b % self.n == 0", "message": "no multiple", "fieldPath": ".a.b"},
        {"rule": "{'x': 1}[self.s] == 1", "message": "unknown"},
        {"rule": "self.n == 0", "message": "never"},
    ]
    (first, told), (_, other) = violations({"a": {"b": 3}, "n": 0, "s": "y"}, {VALIDATIONS: rules})
    assert (first, told.partition(" (the rule")[0]) == ("a.b", "no multiple (it is 3)")
    assert all("could not be evaluated" in text for text in (told, other))
