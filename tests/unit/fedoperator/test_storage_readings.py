"""What the metrics say of buckets, from jobs as the API server has them."""

from fedoperator.metrics import Metrics
from fedoperator.storage_readings import storage_readings


def job(name, *statuses):
    conditions = [{"type": "StorageSafe", "status": each} for each in statuses]
    return {"metadata": {"name": name, "namespace": "research"}, "status": {"conditions": conditions}}


def test_what_is_unknown_is_no_alarm():
    jobs = [job("safe", "True"), job("public", "False"), job("unread", "Unknown"), job("volume")]
    metrics = Metrics()
    metrics.watch(lambda: 0, dict, tuple, tuple, float, tuple, lambda: storage_readings(jobs))
    told = [line for line in metrics.text().decode().splitlines() if line.startswith("fedloom_operator_storage_safe{")]
    assert told == [
        'fedloom_operator_storage_safe{job="safe",namespace="research"} 1.0',
        'fedloom_operator_storage_safe{job="public",namespace="research"} 0.0',
    ]
