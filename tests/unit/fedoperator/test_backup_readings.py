"""What the metrics say of backups, from jobs as the API server has them."""

import math

from fedoperator.backup_readings import backup_readings
from fedoperator.metrics import Metrics
from tests.unit.fedoperator import samples as s


def job(name, status, **spec):
    return {"metadata": {"name": name, "namespace": "research"}, "spec": spec, "status": status}


HEALTHY = {"type": "BackupHealthy", "status": "True"}
JOBS = [
    job("proved", {"backup": {"verifiedTime": s.ago(90)}, "conditions": [HEALTHY]}, backup={"everyRounds": 1}),
    job("new", {}, backup={"everyRounds": 1}),
    job("bare", {}),
]


def test_each_job_that_is_backed_up_has_an_age_and_a_verdict():
    found = {each.job: (each.verified_age_s, each.healthy) for each in backup_readings(JOBS, s.NOW)}
    assert found == {"proved": (90.0, True), "new": (math.inf, False)}


def test_they_are_scraped():
    metrics = Metrics()
    metrics.watch(lambda: 0, dict, tuple, tuple, float, lambda: backup_readings(JOBS, s.NOW), tuple)
    text = metrics.text().decode()
    assert 'fedloom_operator_backup_verified_age_seconds{job="proved",namespace="research"} 90.0' in text
    assert 'fedloom_operator_backup_healthy{job="new",namespace="research"} 0.0' in text
