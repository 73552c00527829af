"""When a metric has collapsed, and whom that makes a suspect."""

import pytest

from fedapi.wire.anomalies import MetricCollapse
from fedcore.anomalies.collapse import collapsed, suspect

ACCURACY = MetricCollapse(metric="accuracy", tolerance=0.2)
LOSS = MetricCollapse(metric="loss", goal="Minimize", tolerance=0.5)


@pytest.mark.parametrize(
    ("settings", "values", "found"),
    [
        (ACCURACY, (), None),
        (ACCURACY, (0.9,), None),
        (ACCURACY, (0.9, 0.71), None),
        (ACCURACY, (0.9, 0.69), (1, 0)),
        (ACCURACY, (0.1, 0.9, 0.8, 0.6), (3, 2)),
        (ACCURACY, (0.9, 0.1, 0.05), None),  # it had collapsed before
        (ACCURACY, (0.9, 0.1, 0.8, 0.2), (3, 2)),  # and again
        (LOSS, (2.0, 0.4, 0.8), None),
        (LOSS, (2.0, 0.4, 0.95), (2, 1)),
    ],
)
def test_a_metric_has_collapsed_when_it_is_much_worse_than_the_best_and_was_not_before(settings, values, found):
    fell = collapsed(settings, list(enumerate(values)))
    assert (fell and (fell.round, fell.good)) == found


def test_the_limit_is_told():
    fell = collapsed(ACCURACY, [(0, 0.5), (4, 0.9), (7, 0.3)])
    assert (fell.round, fell.good, fell.value, fell.limit) == (7, 4, 0.3, pytest.approx(0.7))


@pytest.mark.parametrize(
    ("norms", "trusted", "found"),
    [
        ({3: {"a": 1.0, "b": 1.2, "c": 4.5}}, "", ("c", 3)),
        ({3: {"a": 1.0, "b": 1.2, "c": 3.2}}, "", None),
        ({3: {"a": 1.0, "b": 1.2, "c": 4.5}, 4: {"a": 1.0, "b": 9.0, "c": 1.0}}, "", ("b", 4)),
        ({3: {"a": 1.0, "c": 90.0}}, "", None),  # of two nobody can say which is wrong
        ({3: {"a": 0.0, "b": 0.0, "c": 4.5}}, "", None),  # where nothing is usual, nothing is above it
        ({3: {"a": 1.0, "b": 1.2, "c": 4.5}}, "c", None),
        ({}, "", None),
    ],
)
def test_suspect_is_whose_update_stands_out_and_nobody_where_none_does(norms, trusted, found):
    by = suspect(ACCURACY, norms, trusted)
    assert (by and (by.client, by.round)) == found
