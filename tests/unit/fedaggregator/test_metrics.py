"""The aggregator's metrics."""

from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from fedaggregator import metrics


def test_every_metric_is_filled():
    source = "".join(path.read_text() for path in Path(metrics.__file__).parent.rglob("*.py"))
    made = [name for name, value in vars(metrics).items() if isinstance(value, MetricWrapperBase)]
    assert made
    assert [name for name in made if f"metrics.{name}." not in source] == []
